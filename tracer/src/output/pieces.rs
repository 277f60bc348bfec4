//! A writer for documents that come in millions of small pieces.

use std::io::{self, Write};

/// Bytes that are written at once.
const AT_ONCE: usize = 64 << 10;

/// Puts small pieces together. [`std::io::BufWriter`] does the same, but its calls are not put in line, which takes as
/// long as all the rest for pieces of a few bytes. What is not flushed at the end is lost.
pub(super) struct Pieces<'a> {
    pieces: Vec<u8>,
    out: &'a mut dyn Write,
}

impl<'a> Pieces<'a> {
    pub(super) fn new(out: &'a mut dyn Write) -> Self {
        Self { pieces: Vec::with_capacity(AT_ONCE), out }
    }

    #[cold]
    fn write_out(&mut self) -> io::Result<()> {
        let written = self.out.write_all(&self.pieces);
        self.pieces.clear();
        written
    }
}

impl Write for Pieces<'_> {
    #[inline]
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.write_all(bytes)?;
        Ok(bytes.len())
    }

    #[inline]
    fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        if bytes.len() > self.pieces.capacity() - self.pieces.len() {
            self.write_out()?;
        }
        self.pieces.extend_from_slice(bytes);
        Ok(())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.write_out()?;
        self.out.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_come_in_their_order_whatever_their_size() {
        let (mut all, mut expected) = (Vec::new(), Vec::new());
        let mut pieces = Pieces::new(&mut all);
        for size in [0, 1, 7, AT_ONCE - 9, 2, AT_ONCE, 3, 3 * AT_ONCE, 5] {
            let piece: Vec<u8> = (0..size).map(|at| (at % 251) as u8).collect();
            pieces.write_all(&piece).expect("written");
            expected.extend(piece);
        }
        pieces.flush().expect("flushed");
        assert_eq!(all, expected);
    }

    #[test]
    fn an_error_is_told() {
        let mut full: &mut [u8] = &mut [0; 10];
        let mut pieces = Pieces::new(&mut full);
        pieces.write_all(&[7; 20]).expect("put together");
        assert!(pieces.flush().is_err());
    }
}
