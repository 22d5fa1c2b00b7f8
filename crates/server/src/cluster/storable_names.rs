//! Names in a form that the database can store. Names of miners are valid already; an imported or repaired
//! file may have others, and one of them must not block all that is shipped after it.

use hstratum_core::accounts::password::hash256;
use hstratum_core::units::hex;

/// Bytes of a name; an index of PostgreSQL takes no text of more than some 2,700 bytes.
const BYTES_MAX: usize = 1_000;

/// Characters kept of a name that cannot be stored.
const KEPT_CHARS: usize = 64;

/// Returns the name, or if it has a zero byte, is not UTF-8 or is too long, its readable part with a digest
/// of all of it, so that different names stay different.
pub(super) fn storable(name: &[u8]) -> String {
    match str::from_utf8(name) {
        Ok(text) if text.len() <= BYTES_MAX && !text.contains('\0') => text.to_owned(),
        _ => {
            let text = String::from_utf8_lossy(name).replace('\0', "\u{fffd}");
            let kept: String = text.chars().take(KEPT_CHARS).collect();
            format!("{kept}#{}", hex(&hash256(name)[..8]))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_stay_as_they_are_or_become_ones_that_can_be_kept() {
        for name in ["alice", "ali ceé", &"x".repeat(BYTES_MAX)] {
            assert_eq!(storable(name.as_bytes()), name);
        }
        let long = "x".repeat(BYTES_MAX + 1);
        // A lone surrogate, as some programs write it.
        let others = [
            b"a\0b".as_slice(),
            b"a\0c",
            b"a\xed\xa0\x80b",
            long.as_bytes(),
        ];
        let mut kept: Vec<String> = others.map(storable).to_vec();
        assert!(
            kept.iter()
                .all(|name| name.len() < 4 * KEPT_CHARS && !name.contains('\0'))
        );
        assert!(kept[0].starts_with("a\u{fffd}b#"), "{kept:?}");
        kept.dedup();
        assert_eq!(kept.len(), others.len());
    }
}
