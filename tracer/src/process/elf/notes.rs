//! Notes of an ELF file.

use super::{u32_at, until_zero};

/// One note of a note segment or section.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Note<'a> {
    pub kind: u32,
    /// Name without its terminating zero.
    pub name: &'a [u8],
    pub contents: &'a [u8],
}

/// Iterates over notes aligned to 4 bytes; ends at the first that is not well-formed.
#[derive(Debug)]
pub struct Notes<'a> {
    rest: &'a [u8],
}

impl<'a> Notes<'a> {
    /// Takes the contents of the segment or section.
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }
}

impl<'a> Iterator for Notes<'a> {
    type Item = Note<'a>;

    fn next(&mut self) -> Option<Note<'a>> {
        let header = self.rest.get(..12)?;
        let sizes = (usize::try_from(u32_at(header, 0)).ok()?, usize::try_from(u32_at(header, 4)).ok()?);
        let contents_start = 12_usize.checked_add(sizes.0.checked_next_multiple_of(4)?)?;
        let contents_end = contents_start.checked_add(sizes.1)?;
        let note = Note {
            kind: u32_at(header, 8),
            name: until_zero(self.rest.get(12..12_usize.checked_add(sizes.0)?)?),
            contents: self.rest.get(contents_start..contents_end)?,
        };
        // The last note's padding may be missing.
        self.rest = self.rest.get(contents_end.checked_next_multiple_of(4)?..).unwrap_or_default();
        Some(note)
    }
}
