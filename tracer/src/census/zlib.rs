//! zlib's states, by proof: a state points to its stream, and the stream back to the state.
//!
//! A place is believed to be a state if all of this holds: its first word is the address of a stream;
//! the stream's `state` is this place; the stream's `zalloc` and `zfree` are code; the mode or status
//! is one that zlib has; sizes and masks are the powers of two that the state's own bits say; and what
//! is in use of a table is no more than the table. Random bytes fulfil the first two with a chance of
//! less than 2^-80 for each place, so not once in a lifetime of heaps; bytes that someone arranged so
//! are a state, for all that can be told. States that were ended are not found: `inflateEnd` and
//! `deflateEnd` cut the stream's pointer.
//! Source: zlib 1.2.9 to 1.3.1, `inflate.h`, `deflate.h`; zlib-ng's `inflate.h` has the same beginning.

use std::collections::BTreeMap;

use tracer_common::arch::{ADDRESS_END, ADDRESS_FIRST};

use super::document::Sum;
use crate::process::memory::ProcessMemory;

/// Bytes from a possible state's start that are looked at first.
pub const PREFIX_BYTES: usize = 16;
/// No state is smaller, with the tables in it.
pub const SMALLEST_BYTES: u64 = 5800;
/// Bytes of the states themselves (x86-64).
const INFLATE_BYTES: u64 = 7160;
const DEFLATE_BYTES: u64 = 5952;
const STREAM_BYTES: usize = 112;
/// Fields that are read of a state.
const FIELDS_BYTES: usize = 208;
/// Bytes of a header before what malloc hands out.
const HEADER_BYTES: u64 = 8;

/// Work of a state.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    Inflate,
    Deflate,
}

/// A state that was proved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ZlibState {
    pub kind: Kind,
    pub address: u64,
    /// Address of its `z_stream`.
    pub stream: u64,
    /// Bytes of the state and all that it points to.
    pub bytes: u64,
    /// Parameters of deflate.
    pub level: Option<u8>,
    /// The window has two to the power of this bytes; none while an inflater has not seen a header.
    pub window_bits: u8,
    /// An inflater gets its window with the first output that a later call may refer to.
    pub has_window: bool,
    /// `zalloc`: lies in the library that made it.
    pub allocate: u64,
}

/// Key by which states are told apart in a table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Shape {
    pub kind: Kind,
    pub level: Option<u8>,
    pub window_bits: u8,
    pub has_window: bool,
}

/// States of a process.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct States {
    pub inflate: Sum,
    pub deflate: Sum,
    pub shapes: BTreeMap<Shape, Sum>,
    /// Sums by the address of `zalloc`.
    pub makers: BTreeMap<u64, Sum>,
}

impl States {
    /// Adds a state.
    pub fn add(&mut self, state: &ZlibState) {
        match state.kind {
            Kind::Inflate => self.inflate.add(state.bytes),
            Kind::Deflate => self.deflate.add(state.bytes),
        }
        let ZlibState { kind, level, window_bits, has_window, .. } = *state;
        self.shapes.entry(Shape { kind, level, window_bits, has_window }).or_default().add(state.bytes);
        self.makers.entry(state.allocate).or_default().add(state.bytes);
    }
}

/// Facts that a proof needs of the process.
#[derive(Clone, Copy)]
pub struct Prover<'a> {
    pub memory: &'a dyn ProcessMemory,
    /// Tells whether there is code at an address.
    pub is_code: &'a dyn Fn(u64) -> bool,
    /// Memory is handed out by glibc: a size stands before it.
    pub has_sizes: bool,
}

impl std::fmt::Debug for Prover<'_> {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Prover").field("has_sizes", &self.has_sizes).finish_non_exhaustive()
    }
}

/// Can `prefix` be the beginning of a state? Cheap, for every place of a heap.
#[inline]
pub fn may_be_state(prefix: &[u8]) -> bool {
    let (Some(stream), Some(mode)) = (word(prefix, 0), half(prefix, 8)) else { return false };
    (is_inflate(mode) || is_deflate(mode)) && is_pointer(stream)
}

impl Prover<'_> {
    /// The state at `address`, if there is one.
    pub fn prove(&self, address: u64) -> Option<ZlibState> {
        let mut state = [0; FIELDS_BYTES];
        self.memory.read(address, &mut state).ok()?;
        if !may_be_state(&state) {
            return None;
        }
        let stream = word(&state, 0)?;
        let mut fields = [0; STREAM_BYTES];
        self.memory.read(stream, &mut fields).ok()?;
        let (allocate, release) = (word(&fields, 64)?, word(&fields, 72)?);
        if word(&fields, 56)? != address || !(self.is_code)(allocate) || !(self.is_code)(release) {
            return None;
        }
        let proved = if is_inflate(half(&state, 8)?) { self.inflate(address, &state) } else { None };
        let (kind, bytes, level, window_bits, has_window) =
            proved.or_else(|| self.deflate(address, &state))?;
        Some(ZlibState { kind, address, stream, bytes, level, window_bits, has_window, allocate })
    }

    fn inflate(&self, address: u64, state: &[u8]) -> Option<(Kind, u64, Option<u8>, u8, bool)> {
        let (bits, size, have, next) =
            (half(state, 56)?, half(state, 60)?, half(state, 64)?, half(state, 68)?);
        let window = word(state, 72)?;
        let (last, wrap) = (half(state, 12)?, half(state, 16)?);
        // A window's size is set when it is first used.
        let holds = (bits == 0 || (8..=15).contains(&bits))
            && (size == 0 || size == 1 << bits)
            && have <= size
            && next <= size
            && last <= 1
            && wrap <= 7
            && (window == 0 || is_address(window))
            && (size == 0 || window != 0)
            && half(state, 88)? <= 64;
        if !holds {
            return None;
        }
        let window_bytes = if window == 0 { 0 } else { self.bytes_of(window, 1 << bits) };
        let bytes = self.bytes_of(address, INFLATE_BYTES) + window_bytes;
        Some((Kind::Inflate, bytes, None, bits as u8, window != 0))
    }

    fn deflate(&self, address: u64, state: &[u8]) -> Option<(Kind, u64, Option<u8>, u8, bool)> {
        let (size, bits, mask) = (half(state, 80)?, half(state, 84)?, half(state, 88)?);
        let (hash_size, hash_bits, hash_mask) = (half(state, 132)?, half(state, 136)?, half(state, 140)?);
        let (level, strategy) = (half(state, 196)?, half(state, 200)?);
        let (pending, pending_bytes, used) = (word(state, 16)?, word(state, 24)?, word(state, 40)?);
        let (window, previous, head) = (word(state, 96)?, word(state, 112)?, word(state, 120)?);
        const DEFLATED: u8 = 8;
        let holds = is_deflate(half(state, 8)?)
            && (8..=15).contains(&bits)
            && size == 1 << bits
            && mask == size - 1
            && (8..=16).contains(&hash_bits)
            && hash_size == 1 << hash_bits
            && hash_mask == hash_size - 1
            && level <= 9
            && strategy <= 4
            && state.get(72) == Some(&DEFLATED)
            && word(state, 104)? == 2 * u64::from(size)
            && (1 << 8..=1 << 20).contains(&pending_bytes)
            && used <= pending_bytes
            && [pending, window, previous, head].into_iter().all(is_address);
        if !holds {
            return None;
        }
        let tables = [
            (address, DEFLATE_BYTES),
            (pending, pending_bytes),
            (window, 2 * u64::from(size)),
            (previous, 2 * u64::from(size)),
            (head, 2 * u64::from(hash_size)),
        ];
        let bytes = tables.into_iter().map(|(at, bytes)| self.bytes_of(at, bytes)).sum();
        Some((Kind::Deflate, bytes, Some(level as u8), bits as u8, true))
    }

    /// Bytes that the block at `address` takes, of which `least` were asked for at least: as malloc has
    /// it, if what stands there makes sense.
    fn bytes_of(&self, address: u64, least: u64) -> u64 {
        let size = self.memory.read_u64(address.wrapping_sub(HEADER_BYTES)).ok().filter(|_| self.has_sizes);
        // zlib asks for a quarter more than is pending, at most; a chunk of its own is whole pages.
        let most = least + least / 2 + 2 * 4096;
        size.map(|size| size & !7).filter(|size| (least..=most).contains(size)).unwrap_or(least)
    }
}

/// `inflate_mode` from 1.2.9 on: HEAD to SYNC.
fn is_inflate(mode: u32) -> bool {
    (16180..=16211).contains(&mode)
}

/// INIT, GZIP, EXTRA, NAME, COMMENT, HCRC, BUSY, FINISH.
fn is_deflate(status: u32) -> bool {
    matches!(status, 42 | 57 | 69 | 73 | 91 | 103 | 113 | 666)
}

fn is_pointer(value: u64) -> bool {
    value.is_multiple_of(8) && is_address(value)
}

fn is_address(value: u64) -> bool {
    (ADDRESS_FIRST..ADDRESS_END).contains(&value)
}

fn word(bytes: &[u8], offset: usize) -> Option<u64> {
    Some(u64::from_le_bytes(bytes.get(offset..offset.checked_add(8)?)?.try_into().ok()?))
}

fn half(bytes: &[u8], offset: usize) -> Option<u32> {
    Some(u32::from_le_bytes(bytes.get(offset..offset.checked_add(4)?)?.try_into().ok()?))
}

#[cfg(test)]
mod tests;
