//! The memory that zlib's streams hold, by its own formulas and structures, for both sides.
//!
//! Source: zlib 1.2.9 to 1.3.1 on x86-64, `zconf.h` ("memory requirements"), `deflate.c`, `inflate.h`; zlib-ng's
//! `inflate.h` has the same beginning.

/// Bytes of the states themselves.
pub const INFLATE_BYTES: u64 = 7160;
pub const DEFLATE_BYTES: u64 = 5952;

/// `MAX_WBITS` and `DEF_MEM_LEVEL`: what `deflateInit` and the JDK ask for.
pub const DEFAULT_WINDOW_BITS: u32 = 15;
pub const DEFAULT_MEMORY_LEVEL: u32 = 8;

/// The offset of the pointer to its state in a `z_stream`.
const STATE: u64 = 56;
/// Offsets in `inflate_state`: the stream that it belongs to, `wbits`, and the window.
const STREAM: u64 = 0;
const WINDOW_BITS: u64 = 56;
const WINDOW: u64 = 72;

/// The bytes that a deflater holds from its start to its end, by the arguments of `deflateInit2`: the state, the window
/// and its chains, hash heads and pending output. `window_bits` are negative for raw data, and 16 more for gzip.
#[inline(always)]
pub fn deflate_bytes(window_bits: i32, memory_level: u32) -> u64 {
    let bits = if window_bits < 0 { window_bits.wrapping_neg() } else { window_bits } as u32;
    let bits = if bits > DEFAULT_WINDOW_BITS { bits.wrapping_sub(16) } else { bits };
    // 8 is made 9. The rest zlib refuses, and the bounds are for shifts alone.
    let bits = if bits < 9 { 9 } else { bits & 15 };
    DEFLATE_BYTES + (1 << (bits + 2)) + (1 << ((memory_level & 15) + 9))
}

/// The window of the inflater of `stream`: it gets one with the first output that a later call may refer to.
/// 0: it has none, or is not to be understood. `read` gives the word at an address of the process.
#[inline(always)]
pub fn window_bytes(stream: u64, read: impl Fn(u64) -> Option<u64>) -> u64 {
    let Some(state) = read(stream.wrapping_add(STATE)) else {
        return 0;
    };
    if read(state.wrapping_add(STREAM)) != Some(stream) {
        return 0;
    }
    match (read(state.wrapping_add(WINDOW)), read(state.wrapping_add(WINDOW_BITS))) {
        (Some(window), Some(bits)) if window != 0 => {
            let bits = bits as u32;
            if matches!(bits, 8..=15) { 1 << bits } else { 0 }
        }
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_deflater_takes_what_zlib_says() {
        // "(1 << (windowBits+2)) + (1 << (memLevel+9))", 256 KiB with the defaults.
        assert_eq!(deflate_bytes(15, 8), DEFLATE_BYTES + (256 << 10));
        for bits in [-15, 31] {
            assert_eq!(deflate_bytes(bits, 8), deflate_bytes(15, 8));
        }
        assert_eq!(deflate_bytes(8, 1), deflate_bytes(9, 1));
        assert_eq!(deflate_bytes(9, 1), DEFLATE_BYTES + 2048 + 1024);
        // Nothing that it refuses shifts too far.
        for bits in [i32::MIN, -1, 0, 7, 47, i32::MAX] {
            assert!(deflate_bytes(bits, u32::MAX) > DEFLATE_BYTES);
        }
    }

    #[test]
    fn a_window_is_believed_if_stream_and_state_know_each_other() {
        let (stream, state) = (0x1000, 0x2000);
        let words = [(stream + 56, state), (state, stream), (state + 56, 15), (state + 72, 0x3000)];
        let read = |without: usize| {
            move |address| {
                let word = words.iter().enumerate().find(|(at, word)| *at != without && word.0 == address);
                word.map(|(_, word)| word.1)
            }
        };
        assert_eq!(window_bytes(stream, read(9)), 1 << 15);
        for without in 0..4 {
            assert_eq!(window_bytes(stream, read(without)), 0);
        }
        assert_eq!(window_bytes(stream + 8, read(9)), 0);
    }
}
