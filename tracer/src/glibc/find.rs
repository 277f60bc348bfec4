//! Finding the arenas, without symbols: the main one by its bins, the others by their ring.
//!
//! The main arena lies in the C library's writable data. An empty bin there points to a place 16
//! bytes before itself, twice: each such pair of words is tried as each of the 127 bins. From any
//! arena the ring of `next` leads to all others and back.

use std::ops::Range;

use super::arena::{Arena, Form, HEAP_BYTES, heap_of};
use super::source::HeapSource;
use crate::process::mapping::Mapping;

/// The writable data of a library or program that is searched.
const MAX_DATA_BYTES: u64 = 32 << 20;
/// Arenas of one process (glibc makes 8 for each core).
const MAX_ARENAS: usize = 1 << 14;
/// Readings of a ring to which arenas are added.
const ATTEMPTS: usize = 4;

/// Arenas that were found.
#[derive(Debug)]
pub(super) struct Found {
    /// The main one first.
    pub(super) arenas: Vec<Arena>,
    /// The arenas lead back to the main one: none is missing.
    pub(super) is_whole: bool,
    /// The mapping that the main arena lies in.
    pub(super) data: Range<u64>,
}

/// Finds all arenas of the process.
pub(super) fn arenas(source: &HeapSource<'_>) -> Option<Found> {
    let (libc, other): (Vec<&Mapping>, Vec<&Mapping>) = source
        .mappings
        .iter()
        .filter(|mapping| may_hold_state(mapping))
        .partition(|mapping| is_libc(mapping));
    // A C library that is there but unused has no top: then another one's is taken (dlmopen, static).
    let mains = libc.into_iter().chain(other).flat_map(|mapping| main_arenas(source, mapping));
    let mut best: Option<Found> = None;
    for (main, data) in mains {
        let mut rings = (0..ATTEMPTS).filter_map(|_| ring(source, &main));
        let Some((arenas, is_whole)) = rings.find(|(_, is_whole)| *is_whole).or_else(|| ring(source, &main))
        else {
            continue;
        };
        let found = Found { arenas, is_whole, data };
        // One that is read in the wrong form has no ring.
        if main.system_bytes > 0 && is_whole {
            return Some(found);
        }
        let is_better = |best: &Found| found.is_used() && !best.is_used();
        if best.as_ref().is_none_or(is_better) {
            best = Some(found);
        }
    }
    best.filter(Found::is_used)
}

impl Found {
    fn is_used(&self) -> bool {
        self.arenas.len() > 1 || self.arenas.first().is_some_and(|main| main.system_bytes > 0)
    }
}

fn may_hold_state(mapping: &Mapping) -> bool {
    mapping.readable && mapping.writable && !mapping.shared && mapping.is_file()
}

fn is_libc(mapping: &Mapping) -> bool {
    let name = mapping.path.rsplit('/').next().unwrap_or_default();
    name.starts_with("libc.so") || name.starts_with("libc-")
}

/// Addresses of what can be the main arena in the data of `mapping`, one in each form, with the range that was
/// searched.
fn main_arenas(source: &HeapSource<'_>, mapping: &Mapping) -> Vec<(Arena, Range<u64>)> {
    let length = (mapping.end - mapping.start).min(MAX_DATA_BYTES);
    let mut bytes = vec![0; length as usize];
    if source.memory.read(mapping.start, &mut bytes).is_err() {
        return Vec::new();
    }
    let words: Vec<u64> =
        bytes.chunks_exact(8).map(|word| word.try_into().map_or(0, u64::from_le_bytes)).collect();
    let links = words.iter().zip(words.iter().skip(1)).zip((mapping.start..).step_by(8));
    let empty_bins = links.filter(|((forward, back), at)| {
        **forward == at.wrapping_sub(16) && forward == back && at.is_multiple_of(8)
    });
    let empty_bins: Vec<u64> = empty_bins.map(|(_, at)| at).collect();
    let in_form = |form| {
        let mut seen = std::collections::BTreeSet::new();
        let places: Vec<u64> = empty_bins
            .iter()
            .flat_map(|at| Arena::states_with_bin_links_at(*at, form))
            .filter(|address| *address >= mapping.start && seen.insert(*address))
            .collect();
        let is_main = |arena: &Arena| arena.is_main;
        // The ring is the best proof: its words stay as they are, however busy the arena is.
        let ringed = |address: &u64| {
            let main = Arena::prove_known(source, *address, form).filter(is_main)?;
            ring(source, &main).filter(|(_, is_whole)| *is_whole).map(|_| main)
        };
        let next_of = |address: u64| {
            let pointer = Arena::next_pointer(address, form)?.checked_sub(mapping.start)?;
            words.get(usize::try_from(pointer / 8).ok()?).copied()
        };
        let leads_on = |address: &&u64| {
            next_of(**address).is_some_and(|next| next == **address || is_first_in_heap(source, next))
        };
        places.iter().filter(leads_on).find_map(ringed).or_else(|| {
            places.iter().find_map(|address| Arena::prove(source, *address, form).filter(is_main))
        })
    };
    let arenas = Form::ALL.into_iter().filter_map(in_form);
    arenas.map(|arena| (arena, mapping.start..mapping.end)).collect()
}

/// The arenas from `main` around, and whether they lead back; none if `main` is gone.
fn ring(source: &HeapSource<'_>, main: &Arena) -> Option<(Vec<Arena>, bool)> {
    let mut arenas = vec![Arena::prove_known(source, main.address, main.form)?];
    let mut next = arenas.first()?.next;
    while next != main.address {
        let known = arenas.iter().any(|known| known.address == next);
        let arena = if is_first_in_heap(source, next) && !known {
            Arena::prove_known(source, next, main.form)
        } else {
            None
        };
        let Some(arena) = arena.filter(|arena| !arena.is_main && arenas.len() < MAX_ARENAS) else {
            return Some((arenas, false));
        };
        next = arena.next;
        arenas.push(arena);
    }
    Some((arenas, true))
}

/// A thread's arena begins a heap that names it.
fn is_first_in_heap(source: &HeapSource<'_>, arena: u64) -> bool {
    source.word(heap_of(arena)) == Some(arena) && !arena.is_multiple_of(HEAP_BYTES)
}
