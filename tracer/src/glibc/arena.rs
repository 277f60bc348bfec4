//! An arena's state: proved to be one, and where its chunks are.
//!
//! The layout of `malloc_state` is the same from glibc 2.27 to 2.42; 2.43 has no fast bins, and what comes
//! behind them is where they were. Which it is, is told by the ring of arenas. `heap_info` grew by 16 bytes
//! in 2.35, which shows in the distance of an arena from the start of its first heap.

use std::ops::Range;

use super::Heap;
use super::parameters::Parameters;
use super::source::HeapSource;
use super::walk::{End, Extent};

/// Offset of an arena's fast bins, to 2.42.
const FAST_BINS: u64 = 2;
pub(super) const FAST_BIN_COUNT: usize = 10;
/// Words of a `malloc_state` from the pointer to the top on, and where its fields are from there.
const WORDS: usize = 263;
const TOP: usize = 0;
const BINS: usize = 2;
const BIN_COUNT: usize = 127;
const NEXT: usize = 258;
const ATTACHED_THREADS: usize = 260;
const SYSTEM_BYTES: usize = 261;
const MAX_SYSTEM_BYTES: usize = 262;

/// First fields of a `malloc_state`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    /// Fast bins, to 2.42.
    FastBins,
    /// No fast bins, from 2.43.
    Plain,
}

impl Form {
    pub(super) const ALL: [Self; 2] = [Self::FastBins, Self::Plain];

    /// Bytes from its start to the pointer to the top.
    const fn bytes_to_top(self) -> u64 {
        match self {
            Self::FastBins => 12 * 8,
            Self::Plain => 8,
        }
    }

    /// Bytes of all of it.
    const fn bytes(self) -> u64 {
        self.bytes_to_top() + 8 * WORDS as u64
    }
}

/// A bin is used as a chunk whose links are the bin's two words: it starts 16 bytes before them.
const LINKS: u64 = 16;
/// Heaps of thread arenas start at a multiple of this, their reserved size.
pub(super) const HEAP_BYTES: u64 = 64 << 20;
/// Bytes of `heap_info`: to 2.34, and from 2.35.
const HEAP_INFO_BYTES: [u64; 2] = [32, 48];
/// Heaps of one arena (4 TiB).
const MAX_HEAPS: usize = 1 << 16;
/// No arena is larger.
const MAX_SYSTEM: u64 = 1 << 46;
/// Bins that may be in the middle of a change.
const MAX_BROKEN: usize = 6;
/// Readings of a state that changes under us.
const ATTEMPTS: usize = 8;

/// A `malloc_state`, as it was read.
#[derive(Clone, Debug)]
pub(super) struct Arena {
    pub(super) address: u64,
    pub(super) form: Form,
    pub(super) is_main: bool,
    pub(super) top: u64,
    pub(super) next: u64,
    pub(super) attached_threads: u64,
    pub(super) system_bytes: u64,
    pub(super) fast_bins: [u64; FAST_BIN_COUNT],
}

/// Ranges in which an arena has chunks.
#[derive(Debug, Default)]
pub(super) struct Extents {
    pub(super) heaps: Vec<Heap>,
    pub(super) chunks: Vec<Extent>,
    /// Headers before the first chunks: `heap_info` and the state.
    pub(super) own_bytes: u64,
}

impl Arena {
    /// The arena at `address`, if there is one.
    pub(super) fn prove(source: &HeapSource<'_>, address: u64, form: Form) -> Option<Self> {
        (0..ATTEMPTS).find_map(|_| Self::prove_once(source, address, form, is_linked))
    }

    /// The arena at `address`, which another one leads to. Threads that allocate all the time change most bins
    /// while they are looked at, so links need only lead to memory, which is not read for it.
    pub(super) fn prove_known(source: &HeapSource<'_>, address: u64, form: Form) -> Option<Self> {
        let leads_to_memory = |source: &HeapSource<'_>, forward: u64, back: u64, _: u64| {
            [forward, back].into_iter().all(|chunk| chunk.is_multiple_of(8) && source.is_there(chunk))
        };
        (0..ATTEMPTS).find_map(|_| Self::prove_once(source, address, form, leads_to_memory))
    }

    /// `is_filled`: can a bin that is not empty have these links, forward and back, to be at this address?
    fn prove_once(
        source: &HeapSource<'_>,
        address: u64,
        form: Form,
        is_filled: impl Fn(&HeapSource<'_>, u64, u64, u64) -> bool,
    ) -> Option<Self> {
        let start = address.checked_add(form.bytes_to_top())?;
        let words: [u64; WORDS] = source.words(start)?;
        let word = |index: usize| words.get(index).copied().unwrap_or(0);
        let (mut empty_count, mut broken_count) = (0, 0);
        for bin in 0..BIN_COUNT {
            let at = start + 8 * (BINS + 2 * bin) as u64 - LINKS;
            let (forward, back) = (word(BINS + 2 * bin), word(BINS + 2 * bin + 1));
            if (forward, back) == (at, at) {
                empty_count += 1;
                continue;
            }
            broken_count += usize::from(!is_filled(source, forward, back, at));
            if broken_count > MAX_BROKEN {
                return None;
            }
        }
        let (system, max_system) = (word(SYSTEM_BYTES), word(MAX_SYSTEM_BYTES));
        let (top, next) = (word(TOP), word(NEXT));
        // Not all bins are in use: there are sizes between which no request falls.
        let proved = empty_count > 0
            && system <= max_system
            && max_system <= MAX_SYSTEM
            && next.is_multiple_of(8)
            && source.is_there(next)
            && top.is_multiple_of(8)
            && source.is_there(top);
        let fast_bins = match form {
            Form::FastBins => source.words(address + 8 * FAST_BINS)?,
            Form::Plain => [0; FAST_BIN_COUNT],
        };
        proved.then_some(Self {
            address,
            form,
            is_main: info_bytes(address).is_none() || source.word(heap_of(address)) != Some(address),
            top,
            next,
            attached_threads: word(ATTACHED_THREADS),
            system_bytes: system,
            fast_bins,
        })
    }

    /// Address at which an arena at `address` says where the next one is.
    pub(super) fn next_pointer(address: u64, form: Form) -> Option<u64> {
        address.checked_add(form.bytes_to_top() + 8 * NEXT as u64)
    }

    /// The address of the bin's links when it is empty: what the search looks for.
    pub(super) fn states_with_bin_links_at(address: u64, form: Form) -> impl Iterator<Item = u64> {
        let before = move |bin: usize| form.bytes_to_top() + 8 * (BINS + 2 * bin) as u64;
        (0..BIN_COUNT).filter_map(move |bin| address.checked_sub(before(bin)))
    }

    /// Address of the pointer to its top.
    fn top_pointer(&self) -> u64 {
        self.address + self.form.bytes_to_top() + 8 * TOP as u64
    }

    /// Heaps of the arena and the chunks in them.
    pub(super) fn extents(&self, source: &HeapSource<'_>, parameters: Option<&Parameters>) -> Extents {
        if self.is_main { self.main_extents(source, parameters) } else { self.heap_extents(source) }
    }

    fn heap_extents(&self, source: &HeapSource<'_>) -> Extents {
        let mut extents = Extents::default();
        let Some(info_bytes) = info_bytes(self.address) else { return extents };
        let top = source.word(self.top_pointer()).unwrap_or(self.top);
        let last = heap_of(top);
        let mut heap = last;
        while extents.heaps.len() < MAX_HEAPS {
            let Some([arena, previous, bytes]) = source.words::<3>(heap) else { break };
            let known = extents.heaps.iter().rev().take(8).any(|known| known.reserved.start == heap);
            if arena != self.address || known || bytes <= info_bytes || bytes > HEAP_BYTES {
                break;
            }
            let is_first = heap == heap_of(self.address);
            let start = heap + if is_first { first_chunk(info_bytes, self.form) } else { info_bytes };
            extents.own_bytes += start - heap;
            extents.heaps.push(Heap { used: heap..heap + bytes, reserved: heap..heap + HEAP_BYTES });
            extents.chunks.push(Extent {
                chunks: start..heap + bytes,
                end: End::HeapInfo(heap),
                has_top: heap == last,
                is_main: false,
            });
            if is_first || !previous.is_multiple_of(HEAP_BYTES) {
                break;
            }
            heap = previous;
        }
        extents
    }

    /// The main arena lies from the first break to its top; what else it has was mapped because the
    /// break could not be moved.
    fn main_extents(&self, source: &HeapSource<'_>, parameters: Option<&Parameters>) -> Extents {
        let mut extents = Extents::default();
        // The top moves under the reader's eyes.
        let range = (0..ATTEMPTS).find_map(|_| self.main_range(source, parameters));
        let Some(Range { start, end }) = range else { return extents };
        extents.heaps.push(Heap { used: start..end, reserved: start..end });
        extents.chunks.push(Extent {
            chunks: start..end,
            end: End::Top(self.top_pointer()),
            has_top: true,
            is_main: true,
        });
        extents
    }

    fn main_range(&self, source: &HeapSource<'_>, parameters: Option<&Parameters>) -> Option<Range<u64>> {
        let top = source.word(self.top_pointer())?;
        let [_, size] = source.words::<2>(top)?;
        let end = top.checked_add(size & !7)?;
        let first = parameters.map(|parameters| parameters.first_break);
        let of_top = source.mapping(top).map(|mapping| mapping.start);
        let covered = |start: &u64| *start < end && is_covered(source, *start..end);
        let start = first.filter(covered).or(of_top.filter(covered))?;
        Some(start.next_multiple_of(16)..end)
    }
}

/// First and last chunk of a bin point back to it, but for what changes just now.
fn is_linked(source: &HeapSource<'_>, forward: u64, back: u64, bin: u64) -> bool {
    forward.is_multiple_of(16)
        && back.is_multiple_of(16)
        && source.word(forward.wrapping_add(24)) == Some(bin)
        && source.word(back.wrapping_add(16)) == Some(bin)
}

/// Is all of `range` writable memory, or has it grown since the mappings were read?
fn is_covered(source: &HeapSource<'_>, range: Range<u64>) -> bool {
    let mut next = range.start;
    while next < range.end {
        match source.mapping(next).filter(|mapping| mapping.writable) {
            Some(mapping) => next = mapping.end,
            None => return next > range.start && source.word(range.end - 8).is_some(),
        }
    }
    true
}

/// The heap of a thread's arena that `address` would lie in.
pub(super) fn heap_of(address: u64) -> u64 {
    address - address % HEAP_BYTES
}

/// Bytes of the `heap_info` before an arena at `address`, if it can be a thread's.
fn info_bytes(address: u64) -> Option<u64> {
    HEAP_INFO_BYTES.into_iter().find(|bytes| address % HEAP_BYTES == *bytes)
}

/// Offset of the first chunk behind `heap_info` and state: what it hands out is aligned to 16.
fn first_chunk(info_bytes: u64, form: Form) -> u64 {
    (info_bytes + form.bytes()).next_multiple_of(16)
}
