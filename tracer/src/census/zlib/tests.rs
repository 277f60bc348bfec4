//! Blocks that are a state, and above all blocks that are none.

use proptest::prelude::*;

use super::*;
use crate::process::memory::ImageMemory;

const STATE: u64 = 0x7f00_0000_1010;
const STREAM: u64 = 0x7f00_0000_8010;
const CODE: u64 = 0x7f11_0000_0040;

fn put(bytes: &mut [u8], offset: usize, value: u64) {
    bytes[offset..offset + 8].copy_from_slice(&value.to_le_bytes());
}

fn put_half(bytes: &mut [u8], offset: usize, value: u32) {
    bytes[offset..offset + 4].copy_from_slice(&value.to_le_bytes());
}

fn stream() -> Vec<u8> {
    let mut bytes = vec![0; STREAM_BYTES];
    put(&mut bytes, 56, STATE);
    put(&mut bytes, 64, CODE);
    put(&mut bytes, 72, CODE + 16);
    bytes
}

fn inflate() -> Vec<u8> {
    let mut bytes = vec![0; INFLATE_BYTES as usize];
    put(&mut bytes, 0, STREAM);
    put_half(&mut bytes, 8, 16191);
    put_half(&mut bytes, 56, 15);
    put_half(&mut bytes, 60, 1 << 15);
    put_half(&mut bytes, 64, 700);
    put_half(&mut bytes, 68, 700);
    put(&mut bytes, 72, 0x7f00_0002_0010);
    bytes
}

fn deflate() -> Vec<u8> {
    let mut bytes = vec![0; DEFLATE_BYTES as usize];
    put(&mut bytes, 0, STREAM);
    put_half(&mut bytes, 8, 113);
    put(&mut bytes, 16, 0x7f00_0002_0010);
    put(&mut bytes, 24, 1 << 16);
    bytes[72] = 8;
    put_half(&mut bytes, 80, 1 << 15);
    put_half(&mut bytes, 84, 15);
    put_half(&mut bytes, 88, (1 << 15) - 1);
    for table in [96, 112, 120] {
        put(&mut bytes, table, 0x7f00_0003_0010);
    }
    put(&mut bytes, 104, 1 << 16);
    put_half(&mut bytes, 132, 1 << 15);
    put_half(&mut bytes, 136, 15);
    put_half(&mut bytes, 140, (1 << 15) - 1);
    put_half(&mut bytes, 196, 6);
    bytes
}

fn prove(state: Vec<u8>, stream: Vec<u8>) -> Option<ZlibState> {
    let memory = ImageMemory::new(vec![(STATE, state), (STREAM, stream)]);
    let is_code = |address| (CODE..CODE + 0x1000).contains(&address);
    Prover { memory: &memory, is_code: &is_code, has_sizes: false }.prove(STATE)
}

#[test]
fn states_as_zlib_makes_them() {
    let found = prove(inflate(), stream()).expect("an inflater");
    assert_eq!((found.kind, found.bytes, found.window_bits), (Kind::Inflate, 7160 + (1 << 15), 15));
    let found = prove(deflate(), stream()).expect("a deflater");
    assert_eq!((found.kind, found.level), (Kind::Deflate, Some(6)));
    assert_eq!(found.bytes, 5952 + (1 << 16) * 4);
    // Before its first header.
    let mut fresh = inflate();
    put_half(&mut fresh, 8, 16180);
    (60..80).for_each(|at| fresh[at] = 0);
    assert_eq!(prove(fresh, stream()).map(|state| (state.bytes, state.has_window)), Some((7160, false)));
}

#[test]
fn almost_a_state_is_none() {
    // Each is one that zlib cannot make: (offset, the 32 bits there).
    let wrong_inflate =
        [(8, 16179), (8, 16212), (12, 2), (16, 8), (56, 16), (56, 7), (60, 1 << 14), (64, 1 << 16), (88, 65)];
    for (offset, value) in wrong_inflate {
        let mut state = inflate();
        put_half(&mut state, offset, value);
        assert_eq!(prove(state, stream()), None, "inflate {offset} {value}");
    }
    let wrong_deflate =
        [(8, 43), (72, 7), (80, 3), (84, 16), (88, 1), (104, 1), (136, 1), (140, 0), (196, 10), (24, 0)];
    for (offset, value) in wrong_deflate {
        let mut state = deflate();
        put_half(&mut state, offset, value);
        assert_eq!(prove(state, stream()), None, "deflate {offset} {value}");
    }
    // The stream was ended, is another's, or calls what is no code.
    for (offset, value) in [(56, 0), (56, STATE + 16), (64, 0), (64, STATE), (72, CODE + 0x1000)] {
        let mut stream = stream();
        put(&mut stream, offset, value);
        assert_eq!(prove(inflate(), stream.clone()), None, "stream {offset} {value:#x}");
        assert_eq!(prove(deflate(), stream), None, "stream {offset} {value:#x}");
    }
    assert_eq!(prove(inflate()[..100].to_vec(), stream()), None, "the memory ends");
}

proptest! {
    /// A heap of words that are pointers into it, modes, small numbers and code: what looks most like
    /// states without being any.
    #[test]
    fn hostile_bytes_are_no_state(seeds in prop::collection::vec((0_u8..6, any::<u32>()), 2048)) {
        const START: u64 = 0x7f00_0000_0000;
        let words = seeds.iter().map(|(kind, value)| match kind {
            0 | 1 => START + u64::from(value % 1024) * 16,
            2 => 16180 + u64::from(value % 32),
            3 => [42, 57, 69, 73, 91, 103, 113, 666][*value as usize % 8] | u64::from(*value) << 32,
            4 => CODE + u64::from(value % 256),
            _ => u64::from(*value) << 16 | 0xf,
        });
        let memory = ImageMemory::new(vec![(START, words.flat_map(u64::to_le_bytes).collect())]);
        let is_code = |address| (CODE..CODE + 0x1000).contains(&address);
        let prover = Prover { memory: &memory, is_code: &is_code, has_sizes: true };
        for address in (START..START + 2048 * 8).step_by(16) {
            // Whatever passes has to have all of the shape: none of these has.
            prop_assert_eq!(prover.prove(address), None);
        }
    }

    #[test]
    fn random_bytes_are_no_state(bytes in prop::collection::vec(any::<u8>(), 1 << 14)) {
        let memory = ImageMemory::new(vec![(0x10000, bytes)]);
        let prover = Prover { memory: &memory, is_code: &|_| true, has_sizes: true };
        for address in (0x10000..0x10000 + (1 << 14)).step_by(16) {
            prop_assert_eq!(prover.prove(address), None);
        }
    }
}
