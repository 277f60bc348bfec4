//! Contents of the memory itself: malloc's own structures, and structures that are recognised in its chunks.

use std::ops::Range;

use super::arenas::Arenas;
use super::document::{ChunkLength, Library, OpenSsl, Zstd};
use super::openssl::Candidates;
use super::owners::Owners;
use super::zlib::{self, Prover, States};
use super::{CensusSource, Known, sweep, zstd};
use crate::glibc::{self, Chunk, Malloc};
use crate::process::mapping::Mapping;
use crate::process::memory::ProcessMemory;
use crate::vmmap::{Map, Owner};

/// States that are remembered until they are proved.
const MAX_CANDIDATES: usize = 1 << 22;

/// Bytes that malloc adds to each chunk.
const HEADER_BYTES: u64 = 8;
/// Bytes of a chunk that are looked at.
const HEAD_BYTES: usize = 32;

/// Native memory.
#[derive(Clone, Debug)]
pub(super) struct Native {
    pub(super) malloc: Known<Malloc>,
    /// Chunks in use by the library that their first words point into, those with most bytes first; a few
    /// that wait in caches are among them.
    pub(super) libraries: Vec<Library>,
    /// Chunks of the JVM's own arenas, by length.
    pub(super) arena_chunks: Vec<ChunkLength>,
    pub(super) openssl: OpenSsl,
    pub(super) zstd: Zstd,
    pub(super) zlib: States,
    /// Libraries that made zlib's states, the largest first.
    pub(super) zlib_makers: Vec<Library>,
    /// zlib's states were looked for in malloc's chunks; else in all writable anonymous memory.
    pub(super) zlib_in_chunks: bool,
}

impl Native {
    pub(super) fn read(subject: &CensusSource<'_>) -> Self {
        let excluded = subject.map.map(not_shared_out).unwrap_or_default();
        let source = glibc::HeapSource {
            memory: subject.memory,
            residency: subject.residency,
            mappings: subject.mappings,
            excluded: &excluded,
        };
        let mut candidates = Vec::new();
        let mut candidate = |address: u64| {
            if candidates.len() < MAX_CANDIDATES {
                candidates.push(address);
            }
        };
        let other = subject.allocator.filter(|kind| !["glibc", "statically linked"].contains(kind));
        let mut owners = Owners::new(subject.mappings);
        let mut arenas = Arenas::new(subject.mappings);
        let mut openssl = Candidates::default();
        let mut zstd = zstd::Candidates::default();
        let malloc = match other {
            Some(kind) => Err(format!("the process uses {kind}, whose chunks are not read")),
            None => glibc::read(&source, &mut |chunk| {
                let mut copy = [0; HEAD_BYTES];
                let head = head_of(chunk, subject.memory, &mut copy);
                owners.add(head, chunk.usable_bytes + HEADER_BYTES);
                arenas.see(head, chunk.usable_bytes);
                openssl.see(&owners, head, chunk.usable_bytes + HEADER_BYTES);
                zstd.see(&owners, head, chunk.address, chunk.usable_bytes);
                if chunk.usable_bytes < zlib::SMALLEST_BYTES {
                    return;
                }
                if chunk.head.len() < zlib::PREFIX_BYTES {
                    candidate(chunk.address);
                }
                // Some builds align their states to a line of the cache.
                for (part, at) in chunk.head.chunks_exact(16).zip((chunk.address..).step_by(16)) {
                    if zlib::may_be_state(part) {
                        candidate(at);
                    }
                }
            })
            .map_err(|error| error.to_string()),
        };
        let malloc = malloc.map(|malloc| if subject.is_image { without_resident(malloc) } else { malloc });
        if malloc.is_err() {
            let CensusSource { memory, residency, mappings, .. } = *subject;
            sweep::sweep(memory, residency, mappings, &excluded, &mut candidate);
        }
        let is_code =
            |address| mapping_of(subject.mappings, address).is_some_and(|mapping| mapping.executable);
        let prover = Prover { memory: subject.memory, is_code: &is_code, has_sizes: malloc.is_ok() };
        let mut zlib = States::default();
        candidates.into_iter().filter_map(|address| prover.prove(address)).for_each(|state| zlib.add(&state));
        let zlib_makers = makers(subject.mappings, &zlib);
        Self {
            openssl: openssl.prove(&owners, subject.memory),
            zstd: zstd.prove(subject.memory),
            libraries: owners.finish(),
            arena_chunks: arenas.prove(subject.memory),
            zlib,
            zlib_makers,
            zlib_in_chunks: malloc.is_ok(),
            malloc,
        }
    }
}

/// The first bytes of a chunk: read into `copy` where the walk does not have them at hand.
#[inline]
fn head_of<'a>(chunk: &'a Chunk<'_>, memory: &dyn ProcessMemory, copy: &'a mut [u8; HEAD_BYTES]) -> &'a [u8] {
    if !chunk.head.is_empty() {
        return chunk.head;
    }
    match memory.read(chunk.address, copy) {
        Ok(()) => copy,
        Err(_) => &[],
    }
}

/// The Java heap and other memory that no allocator shares out: not searched.
fn not_shared_out(map: &Map) -> Vec<Range<u64>> {
    let shared_out = |owner| {
        matches!(
            owner,
            Owner::MallocArena | Owner::MallocMapped | Owner::OwnAllocator | Owner::Jvm | Owner::Unexplained
        )
    };
    map.parts.iter().filter(|part| !shared_out(part.owner)).map(|part| part.range.clone()).collect()
}

/// An image has what was in memory, and what was not as zeros: they cannot always be told apart.
fn without_resident(mut malloc: Malloc) -> Malloc {
    malloc.arenas.iter_mut().for_each(|arena| arena.resident_bytes = None);
    malloc.mapped.resident_bytes = None;
    malloc
}

fn mapping_of(mappings: &[Mapping], address: u64) -> Option<&Mapping> {
    let after = mappings.partition_point(|mapping| mapping.start <= address);
    mappings.get(after.checked_sub(1)?).filter(|mapping| address < mapping.end)
}

fn makers(mappings: &[Mapping], zlib: &States) -> Vec<Library> {
    let mut makers: Vec<Library> = Vec::new();
    for (address, sum) in &zlib.makers {
        let path = mapping_of(mappings, *address).map_or("", |mapping| &mapping.path).to_owned();
        match makers.iter_mut().find(|maker| maker.path == path) {
            Some(maker) => {
                maker.count += sum.count;
                maker.bytes += sum.bytes;
            }
            None => makers.push(Library { path, count: sum.count, bytes: sum.bytes }),
        }
    }
    makers.sort_by_key(|maker| std::cmp::Reverse(maker.bytes));
    makers
}
