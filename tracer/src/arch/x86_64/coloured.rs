//! References of generational ZGC (JDK 21 and later), which have metadata, their colour, in their low bits.
//! Source: HotSpot, `zAddress.hpp` and `gc/z/zAddress.inline.hpp`, for x86.

/// The four bits of a colour that say how far the address is shifted begin here.
const SHIFT: u32 = 12;
const MASK: u64 = 0xf;

/// The address in a reference if it is coloured. `None` if it has no colour, and may be an address as it is.
pub fn address(reference: u64) -> Option<u64> {
    let colour = reference >> SHIFT & MASK;
    (colour != 0).then(|| reference >> (SHIFT + 1 + colour.trailing_zeros()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lowest_bit_of_a_colour_is_the_shift() {
        let object = (1 << 42) + 0x1238;
        for bit in 0..4 {
            assert_eq!(address(object << (13 + bit) | 1 << (12 + bit) | 0x550), Some(object), "{bit}");
        }
        assert_eq!(address(0x4000_0012_0458), None);
        assert_eq!(address(u64::MAX), Some(u64::MAX >> 13));
    }
}
