//! Output of commands: names without control characters, and tables.

use std::fmt::{Display, Write as _};
use std::io::{self, Write as _};
use std::ops::RangeInclusive;
use std::str::FromStr;

use anyhow::Context;
use hstratum_core::accounting::reward_split::Hns;

/// An account's or a worker's name for a terminal. One with anything but plain visible characters
/// is quoted, with its control characters, marks of direction and invisible characters escaped.
pub(crate) fn shown(name: &str) -> String {
    let quoted = format!("{name:?}");
    let is_plain = !name.is_empty() && !name.contains(char::is_whitespace);
    if is_plain && quoted[1..quoted.len() - 1] == *name {
        name.to_owned()
    } else {
        quoted
    }
}

/// A whole number in a range, of an option. What the library says of one that is none is hard to
/// understand.
pub(crate) fn number<T>(text: &str, range: RangeInclusive<T>) -> Result<T, String>
where
    T: FromStr + PartialOrd + Copy + Display + Into<u64>,
{
    let parsed = text.parse().ok().filter(|number| range.contains(number));
    parsed.ok_or_else(|| match (*range.end()).into() {
        u64::MAX => format!("expected a whole number from {}", range.start()),
        _ => format!(
            "expected a whole number from {} to {}",
            range.start(),
            range.end()
        ),
    })
}

/// Base units, as HNS.
pub(crate) fn hns(units: impl Into<i128>) -> String {
    Hns(units.into()).to_string()
}

/// Prints a command's whole answer. That nobody reads it to the end is no failure.
pub(crate) fn print(text: &str) -> anyhow::Result<()> {
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(error).context("failed to print")
        }
        _ => Ok(()),
    }
}

/// Prints a failure in one line. That nobody reads it changes nothing.
pub(crate) fn print_error(error: &anyhow::Error) {
    let _ = writeln!(io::stderr(), "hstratum: {error:#}");
}

/// Prints JSON, two spaces deep.
pub(crate) fn print_json(value: &serde_json::Value) -> anyhow::Result<()> {
    print(&format!("{value:#}\n"))
}

/// Columns under their names, each as wide as its widest cell. Numbers are set to the right.
pub(crate) struct Table {
    rows: Vec<Vec<String>>,
}

impl Table {
    pub(crate) fn new<const N: usize>(head: [&str; N]) -> Self {
        Self {
            rows: vec![head.map(str::to_owned).into()],
        }
    }

    pub(crate) fn row<const N: usize>(&mut self, cells: [String; N]) {
        debug_assert_eq!(N, self.rows[0].len());
        self.rows.push(cells.into());
    }

    /// Appends the table to a text, under its title; says so where it has no rows.
    pub(crate) fn write(&self, title: &str, out: &mut String) {
        let _ = writeln!(out, "{title}");
        if self.rows.len() == 1 {
            out.push_str("  none\n\n");
            return;
        }
        let columns = self.rows[0].len();
        let width = |column: usize| {
            self.rows
                .iter()
                .map(|row| row[column].chars().count())
                .max()
        };
        let widths: Vec<usize> = (0..columns).filter_map(width).collect();
        for row in &self.rows {
            let mut line = String::new();
            for (column, (cell, width)) in row.iter().zip(&widths).enumerate() {
                // A column's first cell below its name says what it holds.
                let is_number = is_number(&self.rows[1][column]);
                let _ = if is_number {
                    write!(line, "  {cell:>width$}")
                } else {
                    write!(line, "  {cell:<width$}")
                };
            }
            let _ = writeln!(out, "{}", line.trim_end());
        }
        out.push('\n');
    }
}

fn is_number(cell: &str) -> bool {
    let digits = cell.trim_start_matches('-');
    digits.starts_with(|c: char| c.is_ascii_digit())
        && digits.len() <= 24
        && digits.chars().all(|c| c.is_ascii_digit() || c == '.')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_play_no_tricks_on_a_terminal() {
        assert_eq!(shown("alice-1_é"), "alice-1_é");
        for (name, safe) in [
            ("", r#""""#),
            ("two words", r#""two words""#),
            ("\u{1b}[2Jx", r#""\u{1b}[2Jx""#),
            ("a\u{202e}b", r#""a\u{202e}b""#),
            ("a\u{200b}b", r#""a\u{200b}b""#),
            ("a\u{9b}b", r#""a\u{9b}b""#),
            ("a\nb\r\0", r#""a\nb\r\0""#),
            ("\"quoted\"", r#""\"quoted\"""#),
            (r"a\n", r#""a\\n""#),
        ] {
            assert_eq!(shown(name), safe);
        }
    }

    #[test]
    fn numbers_are_set_to_the_right() {
        let mut table = Table::new(["account", "pays"]);
        table.row(["alice".into(), "10.500000".into()]);
        table.row(["b".into(), "0.500000".into()]);
        let mut out = String::new();
        table.write("Accounts", &mut out);
        let expected =
            "Accounts\n  account       pays\n  alice    10.500000\n  b         0.500000\n\n";
        assert_eq!(out, expected);
    }
}
