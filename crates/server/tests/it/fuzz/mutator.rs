//! Mutates bytes as libFuzzer does, but without coverage: the same seed gives the same bytes.

/// Random numbers by xorshift.
pub(crate) struct Mutator(u64);

impl Mutator {
    pub(crate) fn new(seed: u64) -> Self {
        // Small seeds differ in few bits, so they are spread first.
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from((self.0 >> 16) % end.max(1) as u64).expect("below a usize")
    }

    fn one_of<'a, T>(&mut self, list: &'a [T]) -> &'a T {
        &list[self.below(list.len())]
    }

    /// One of `inputs` with a few mutations.
    pub(crate) fn mutate(
        &mut self,
        inputs: &[Vec<u8>],
        words: &[Vec<u8>],
        bytes_max: usize,
    ) -> Vec<u8> {
        let mut bytes = self.one_of(inputs).clone();
        for _ in 0..=self.below(6) {
            self.change(&mut bytes, inputs, words);
        }
        bytes.truncate(bytes_max);
        bytes
    }

    fn change(&mut self, bytes: &mut Vec<u8>, inputs: &[Vec<u8>], words: &[Vec<u8>]) {
        let at = self.below(bytes.len() + 1);
        match self.below(8) {
            0 => {
                if let Some(byte) = bytes.get_mut(at) {
                    *byte ^= 1 << self.below(8);
                }
            }
            1 => {
                if let Some(byte) = bytes.get_mut(at) {
                    *byte = u8::try_from(self.below(256)).expect("below 256");
                }
            }
            2 | 3 => {
                let word = self.one_of(words);
                bytes.splice(at..at, word.iter().copied());
            }
            4 => {
                let word = self.one_of(words);
                let end = bytes.len().min(at + word.len());
                bytes.splice(at..end, word.iter().copied());
            }
            5 => {
                let part = bytes[at..].to_vec();
                let part = &part[..self.below(part.len() + 1)];
                let there = self.below(bytes.len() + 1);
                bytes.splice(there..there, part.iter().copied());
            }
            6 => {
                let other = self.one_of(inputs);
                bytes.truncate(at);
                bytes.extend_from_slice(&other[self.below(other.len() + 1)..]);
            }
            _ => {
                let end = at + self.below(bytes.len() - at + 1);
                bytes.drain(at..end);
            }
        }
    }
}

/// Parses a libFuzzer dictionary: one word in quotes a line, with `\"`, `\\` and `\xNN`.
pub(crate) fn words(dictionary: &str) -> Vec<Vec<u8>> {
    let lines = dictionary.lines().filter(|line| !line.starts_with('#'));
    lines.map(word).collect()
}

fn word(line: &str) -> Vec<u8> {
    let quoted = line.strip_prefix('"').and_then(|l| l.strip_suffix('"'));
    let mut rest = quoted.unwrap_or_else(|| panic!("a word in quotes, not {line:?}"));
    let mut word = Vec::new();
    while let Some(next) = rest.chars().next() {
        rest = &rest[next.len_utf8()..];
        if next != '\\' {
            word.extend_from_slice(next.to_string().as_bytes());
        } else if let Some(hex) = rest.strip_prefix('x') {
            word.push(u8::from_str_radix(&hex[..2], 16).expect("two hex digits"));
            rest = &hex[2..];
        } else {
            word.extend_from_slice(&rest.as_bytes()[..1]);
            rest = &rest[1..];
        }
    }
    word
}

#[test]
fn words_are_read_as_libfuzzer_reads_them() {
    let read = words("# a comment\n\"a b\"\n\"\\\"\\\\\\x0aq\"\n");
    assert_eq!(read, [b"a b".to_vec(), b"\"\\\nq".to_vec()]);
}

#[test]
fn a_seed_always_gives_the_same_bytes() {
    let inputs = [b"one".to_vec(), b"another".to_vec()];
    let words = [b"word".to_vec()];
    let mutate = |seed| Mutator::new(seed).mutate(&inputs, &words, 10);
    for seed in 0..100 {
        assert_eq!(mutate(seed), mutate(seed));
        assert!(mutate(seed).len() <= 10);
    }
}
