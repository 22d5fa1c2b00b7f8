//! Lines are the same at every cut of their bytes, and no more is held than the limit allows.

use hstratum_core::limits::LINE_BYTES_MAX;
use hstratum_core::wire::line::{Flow, LineBuffer, LineTooLong};

/// The first four bytes set the sizes of the pieces; a line that begins with `s` stops the reader.
pub(crate) fn line(data: &[u8]) {
    let Some((sizes, text)) = data.split_at_checked(4) else {
        return;
    };
    let text = super::stretched(text);
    let whole = read(std::iter::once(&text[..]));
    assert_eq!(whole, plain_split(&text), "whole and by hand");

    let mut rest = &text[..];
    let pieces = sizes.iter().cycle().map_while(|&size| {
        // Squared, so that both single bytes and whole kilobytes occur. A long text gets no single bytes,
        // because each piece reads all held bytes again.
        let size = (usize::from(size).pow(2) / 8).max(1 + text.len() / 512);
        let size = size.min(rest.len().max(1));
        let (piece, after) = rest.split_at_checked(size)?;
        rest = after;
        Some(piece)
    });
    assert_eq!(read(pieces), whole, "in pieces of {sizes:?} and whole");
}

type Lines = (Vec<Vec<u8>>, Result<(), LineTooLong>);

fn read<'a>(pieces: impl Iterator<Item = &'a [u8]>) -> Lines {
    let mut buffer = LineBuffer::default();
    let mut lines: Vec<Vec<u8>> = Vec::new();
    for piece in pieces {
        let mut bytes = piece;
        loop {
            let before = lines.len();
            let mut stopped = false;
            let read = buffer.read(bytes, |line| {
                lines.push(line.to_vec());
                stopped = line.first() == Some(&b's');
                if stopped { Flow::Stop } else { Flow::Continue }
            });
            if read.is_err() {
                assert!(buffer.is_empty(), "nothing is held after a line too long");
                return (lines, read);
            }
            if !stopped {
                assert!(buffer.len() <= LINE_BYTES_MAX, "{} held", buffer.len());
                break;
            }
            assert!(buffer.len() <= LINE_BYTES_MAX + piece.len());
            assert!(lines.len() > before);
            bytes = &[];
        }
    }
    (lines, Ok(()))
}

fn plain_split(text: &[u8]) -> Lines {
    let mut lines: Vec<Vec<u8>> = Vec::new();
    for part in text.split_inclusive(|&byte| byte == b'\n') {
        let line = part.strip_suffix(b"\n");
        if line.unwrap_or(part).len() > LINE_BYTES_MAX {
            return (lines, Err(LineTooLong));
        }
        if let Some(line) = line {
            lines.push(line.strip_suffix(b"\r").unwrap_or(line).to_vec());
        }
    }
    (lines, Ok(()))
}
