//! The probes on what is held behind a few rare calls, library by library.
//!
//! A kind of thing is watched as a whole or not at all: with its beginnings alone, nothing of it would ever seem to
//! end.

use std::{collections::BTreeSet, fs::File, os::unix::fs::MetadataExt, path::Path};

use super::{
    attach::UprobePoint,
    plan,
    survey::{HeldLibrary, Surveyed, place_held},
};
use crate::process::{
    allocator::Function,
    elf::{Elf, ElfError},
    held::Held,
};

/// A file, by device and inode.
pub type FileId = (u64, u64);

/// The functions of the library, and what it lacks. None: it is known.
///
/// # Errors
/// It cannot be read.
pub fn survey(
    path: &str,
    file: &Path,
    known: &mut BTreeSet<FileId>,
) -> Result<Option<HeldLibrary>, ElfError> {
    let opened = File::open(file)?;
    let metadata = opened.metadata()?;
    if !known.insert((metadata.dev(), metadata.ino())) {
        return Ok(None);
    }
    place_held(&Elf::read(opened)?, path, file, 0).map(Some)
}

/// The functions by which one kind of thing begins and ends.
#[derive(Debug)]
pub struct Group {
    /// The things.
    pub what: &'static str,
    functions: Vec<Surveyed>,
}

/// The functions of a library, by what they hold.
pub fn groups(functions: Vec<Surveyed>) -> Vec<Group> {
    let mut groups: Vec<Group> = Vec::new();
    for surveyed in functions {
        let Function::Held(held) = surveyed.function.function else { continue };
        let what = what(held);
        match groups.iter_mut().find(|group| group.what == what) {
            Some(group) => group.functions.push(surveyed),
            None => groups.push(Group { what, functions: vec![surveyed] }),
        }
    }
    groups
}

fn what(held: Held) -> &'static str {
    match held {
        Held::InflateInit | Held::InflateEnd | Held::InflaterInit | Held::InflaterEnd => {
            "zlib's inflate streams"
        }
        Held::DeflateInit
        | Held::DeflateInit2
        | Held::DeflateCopy
        | Held::DeflateEnd
        | Held::DeflaterInit
        | Held::DeflaterEnd => "zlib's deflate streams",
        Held::AllocateMemory | Held::ReallocateMemory | Held::FreeMemory => "blocks of Unsafe",
    }
}

impl Group {
    /// Where its probes go, in the order in which they are to be attached: the ends first.
    ///
    /// # Errors
    /// A function cannot be probed, or one is missing that must be there; says why.
    pub fn points(&self) -> Result<Vec<UprobePoint>, String> {
        let begins = |surveyed: &&Surveyed| surveyed.function.function.allocates();
        let (beginnings, ends): (Vec<_>, Vec<_>) = self.functions.iter().partition(begins);
        if beginnings.is_empty() || ends.is_empty() {
            return Err("only some of the functions are there".to_owned());
        }
        let mut points = Vec::new();
        for Surveyed { function, placement, .. } in ends.into_iter().chain(beginnings) {
            let place =
                placement.as_ref().map_err(|error| format!("{}: {error}", function.function.name()))?;
            points.extend(plan::allocator_points(function, place.file_offset));
        }
        Ok(points)
    }
}
