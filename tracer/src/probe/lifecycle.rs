//! The probes on what is held behind a few rare calls, library by library.
//!
//! A kind of thing is watched as a whole or not at all: with its beginnings alone, nothing of it would ever seem to
//! end.

use std::{collections::BTreeSet, fs::File, os::unix::fs::MetadataExt, path::Path};

use super::{
    attach::UprobePoint,
    plan::{LifecycleLibrary, PlannedFunction, place_lifecycle},
    points,
};
use crate::process::{
    allocator::Function,
    elf::{Elf, ElfError},
    lifecycle::LifecycleFunction,
};

/// A file as `stat` tells it from others.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct FileId {
    device: u64,
    inode: u64,
}

/// The functions of the library, and what it lacks. `None` if it is known.
///
/// # Errors
/// It cannot be read.
pub fn place(
    path: &str,
    file: &Path,
    known: &mut BTreeSet<FileId>,
) -> Result<Option<LifecycleLibrary>, ElfError> {
    let opened = File::open(file)?;
    let metadata = opened.metadata()?;
    if !known.insert(FileId { device: metadata.dev(), inode: metadata.ino() }) {
        return Ok(None);
    }
    place_lifecycle(&Elf::read(opened)?, path, file, 0).map(Some)
}

/// The functions by which one kind of thing begins and ends.
#[derive(Debug)]
pub struct Group {
    /// The things.
    pub what: &'static str,
    functions: Vec<PlannedFunction>,
}

/// The functions of a library, by what they hold.
pub fn groups(functions: Vec<PlannedFunction>) -> Vec<Group> {
    let mut groups: Vec<Group> = Vec::new();
    for planned in functions {
        let Function::Lifecycle(held) = planned.function.function else { continue };
        let what = what(held);
        match groups.iter_mut().find(|group| group.what == what) {
            Some(group) => group.functions.push(planned),
            None => groups.push(Group { what, functions: vec![planned] }),
        }
    }
    groups
}

fn what(held: LifecycleFunction) -> &'static str {
    match held {
        LifecycleFunction::InflateInit
        | LifecycleFunction::InflateEnd
        | LifecycleFunction::InflaterInit
        | LifecycleFunction::InflaterEnd => "zlib's inflate streams",
        LifecycleFunction::DeflateInit
        | LifecycleFunction::DeflateInit2
        | LifecycleFunction::DeflateCopy
        | LifecycleFunction::DeflateEnd
        | LifecycleFunction::DeflaterInit
        | LifecycleFunction::DeflaterEnd => "zlib's deflate streams",
        LifecycleFunction::AllocateMemory
        | LifecycleFunction::ReallocateMemory
        | LifecycleFunction::FreeMemory => "blocks of Unsafe",
    }
}

impl Group {
    /// Probe points of the function, in the order in which they are to be attached: the ends first.
    ///
    /// # Errors
    /// A function cannot be probed, or one is missing that must be there; says why.
    pub fn points(&self) -> Result<Vec<UprobePoint>, String> {
        let begins = |planned: &&PlannedFunction| planned.function.function.allocates();
        let (beginnings, ends): (Vec<_>, Vec<_>) = self.functions.iter().partition(begins);
        if beginnings.is_empty() || ends.is_empty() {
            return Err("only some of the functions are there".to_owned());
        }
        let mut all = Vec::new();
        for PlannedFunction { function, placement, .. } in ends.into_iter().chain(beginnings) {
            let place =
                placement.as_ref().map_err(|error| format!("{}: {error}", function.function.name()))?;
            all.extend(points::allocator_points(function, place.file_offset));
        }
        Ok(all)
    }
}
