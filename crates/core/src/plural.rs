//! A number with its noun in the singular or plural: "1 account", "2 accounts". For texts that people
//! read.

use std::fmt;

/// A number with its noun; displayed as in "2 accounts".
#[derive(Clone, Copy, Debug)]
pub struct Counted<'a>(i128, &'a str);

/// Pairs a number with a noun, given in the singular.
pub fn counted(number: impl TryInto<i128>, noun: &str) -> Counted<'_> {
    // A number too large for `i128` takes the plural all the same.
    Counted(number.try_into().unwrap_or(i128::MAX), noun)
}

impl fmt::Display for Counted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(number, noun) = *self;
        match number {
            1 => write!(f, "1 {noun}"),
            _ if noun.ends_with("ch") => write!(f, "{number} {noun}es"),
            _ => write!(f, "{number} {noun}s"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_is_one_and_all_else_are_many() {
        for (number, noun, text) in [
            (0_u64, "account", "0 accounts"),
            (1, "account", "1 account"),
            (2, "account", "2 accounts"),
            (1, "batch", "1 batch"),
            (3, "batch", "3 batches"),
        ] {
            assert_eq!(counted(number, noun).to_string(), text);
        }
        assert_eq!(counted(1_usize, "row").to_string(), "1 row");
        assert_eq!(counted(-1_i64, "row").to_string(), "-1 rows");
    }
}
