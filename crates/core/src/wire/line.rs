//! Splits received bytes into lines, which end with `\n`; a `\r` before it is dropped. Chunks may be cut
//! anywhere.
//!
//! A [`LineBuffer`] keeps only the bytes of an unfinished line, so that an idle connection holds no
//! memory.

use crate::limits::LINE_BYTES_MAX;

/// Bytes searched for a newline in one step.
const PART_BYTES: usize = 32;

/// The bytes received of a line that is not finished, or of lines that [`Flow::Stop`] held back.
#[derive(Debug, Default)]
pub struct LineBuffer {
    held: Vec<u8>,
}

/// The error for a line over the length limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LineTooLong;

impl LineBuffer {
    /// True if no bytes are held.
    pub fn is_empty(&self) -> bool {
        self.held.is_empty()
    }

    /// Count of held bytes.
    pub fn len(&self) -> usize {
        self.held.len()
    }

    /// The held bytes.
    pub fn held(&self) -> &[u8] {
        &self.held
    }

    /// Appends bytes for a later [`LineBuffer::read`].
    pub fn hold(&mut self, bytes: &[u8]) {
        self.held.extend_from_slice(bytes);
    }

    /// Appends `bytes` and hands each whole line to `handle` until it returns [`Flow::Stop`]; the rest is
    /// held for the next call. `read(&[], …)` goes on after a stop.
    ///
    /// # Errors
    /// [`LineTooLong`] when a line, finished or not, is longer than [`LINE_BYTES_MAX`]. The buffer
    /// is then empty.
    pub fn read(
        &mut self,
        bytes: &[u8],
        handle: impl FnMut(&[u8]) -> Flow,
    ) -> Result<(), LineTooLong> {
        self.read_up_to(LINE_BYTES_MAX, bytes, handle)
    }

    /// Like [`LineBuffer::read`], for lines of at most `max` bytes.
    ///
    /// # Errors
    /// [`LineTooLong`] when one is longer.
    pub fn read_up_to(
        &mut self,
        max: usize,
        bytes: &[u8],
        mut handle: impl FnMut(&[u8]) -> Flow,
    ) -> Result<(), LineTooLong> {
        if self.held.is_empty() {
            let rest = split(max, bytes, &mut handle)?;
            self.held.extend_from_slice(rest);
            return Ok(());
        }
        let mut held = std::mem::take(&mut self.held);
        held.extend_from_slice(bytes);
        let rest = split(max, &held, &mut handle)?.len();
        held.drain(..held.len() - rest);
        if held.is_empty() {
            held = Vec::new();
        }
        self.held = held;
        Ok(())
    }
}

/// The choice of a line's handler between the next line and a stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flow {
    /// Hand over the next line.
    Continue,
    /// Hold the following lines for a later read.
    Stop,
}

fn split<'a>(
    max: usize,
    mut bytes: &'a [u8],
    handle: &mut impl FnMut(&[u8]) -> Flow,
) -> Result<&'a [u8], LineTooLong> {
    loop {
        let Some(end) = newline(bytes) else {
            if bytes.len() > max {
                return Err(LineTooLong);
            }
            return Ok(bytes);
        };
        if end > max {
            return Err(LineTooLong);
        }
        let line = &bytes[..end];
        bytes = &bytes[end + 1..];
        if handle(line.strip_suffix(b"\r").unwrap_or(line)) == Flow::Stop {
            return Ok(bytes);
        }
    }
}

/// Position of the first newline. Parts without one are skipped [`PART_BYTES`] at a time.
fn newline(bytes: &[u8]) -> Option<usize> {
    let has_none = |part: &&[u8]| part.iter().fold(true, |none, &b| none & (b != b'\n'));
    let parts = bytes.chunks_exact(PART_BYTES).take_while(has_none);
    let start = parts.count() * PART_BYTES;
    let end = bytes[start..].iter().position(|&byte| byte == b'\n')?;
    Some(start + end)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(chunks: &[&[u8]]) -> Result<Vec<String>, LineTooLong> {
        let mut buffer = LineBuffer::default();
        let mut seen = Vec::new();
        for chunk in chunks {
            buffer.read(chunk, |line| {
                seen.push(String::from_utf8_lossy(line).into_owned());
                Flow::Continue
            })?;
        }
        Ok(seen)
    }

    #[test]
    fn lines_are_found_however_they_are_cut() {
        let text = b"one\r\ntwo\n\nthree\n";
        for cut in 0..=text.len() {
            let (a, b) = text.split_at(cut);
            assert_eq!(lines(&[a, b]).unwrap(), ["one", "two", "", "three"]);
        }
    }

    #[test]
    fn a_line_of_the_greatest_length_passes_and_a_longer_one_does_not() {
        let mut line = vec![b'x'; LINE_BYTES_MAX];
        line.push(b'\n');
        assert_eq!(lines(&[&line]).unwrap().len(), 1);
        line.insert(0, b'x');
        assert_eq!(lines(&[&line]), Err(LineTooLong));
        let unfinished = vec![b'x'; LINE_BYTES_MAX + 1];
        assert_eq!(lines(&[&unfinished]), Err(LineTooLong));
    }

    #[test]
    fn what_follows_a_stop_waits_for_the_next_read() {
        let mut buffer = LineBuffer::default();
        let mut seen = Vec::new();
        buffer
            .read(b"one\ntwo\nthr", |line| {
                seen.push(line.to_vec());
                Flow::Stop
            })
            .unwrap();
        assert_eq!(seen, [b"one".to_vec()]);
        assert_eq!(buffer.len(), 7);
        buffer
            .read(b"ee\n", |line| {
                seen.push(line.to_vec());
                Flow::Continue
            })
            .unwrap();
        assert_eq!(seen, [b"one".to_vec(), b"two".to_vec(), b"three".to_vec()]);
        assert!(buffer.is_empty());
    }
}
