//! Direct jumps and calls in machine code, and entries of a procedure linkage table.
//! Source: Intel SDM 2 (`CALL`, `JMP`); System V ABI, "Procedure Linkage Table".

/// Bytes of the longest instructions that are decoded, with what may stand before them.
pub const MAX_BYTES: u64 = 11;
/// The mark of a function that may be called indirectly.
const ENDBR64: [u8; 4] = [0xf3, 0x0f, 0x1e, 0xfa];

/// The destination of a jump, in the terms of the address that its code was given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Destination {
    Code(u64),
    /// The address of the code is in this slot.
    Slot(u64),
}

/// The destination of the jump with which `code` at `address` begins, perhaps behind the mark of a function.
pub fn first(code: &[u8], address: u64) -> Option<Destination> {
    let (code, start) = match code.strip_prefix(&ENDBR64) {
        Some(rest) => (rest, address.wrapping_add(4)),
        None => (code, address),
    };
    let from = |length: u64, displacement: i32| {
        start.wrapping_add(length).wrapping_add_signed(i64::from(displacement))
    };
    match *code {
        [0xe9, a, b, c, d, ..] => Some(Destination::Code(from(5, i32::from_le_bytes([a, b, c, d])))),
        [0xeb, displacement, ..] => Some(Destination::Code(from(2, i32::from(displacement.cast_signed())))),
        // An entry of a linkage table: jmp [rip + displacement], with or without `bnd`.
        [0xff, 0x25, a, b, c, d, ..] => Some(Destination::Slot(from(6, i32::from_le_bytes([a, b, c, d])))),
        [0xf2, 0xff, 0x25, a, b, c, d, ..] => {
            Some(Destination::Slot(from(7, i32::from_le_bytes([a, b, c, d]))))
        }
        _ => None,
    }
}

/// The destinations of everything in `code` at `address` that may be a direct jump or call. Instructions are not decoded: some
/// of them may be parts of other instructions.
pub fn candidates(code: &[u8], address: u64) -> impl Iterator<Item = u64> {
    code.windows(5).zip(0_u64..).filter_map(move |(window, at)| match *window {
        [0xe8 | 0xe9, a, b, c, d] => {
            let displacement = i64::from(i32::from_le_bytes([a, b, c, d]));
            Some(address.wrapping_add(at).wrapping_add(5).wrapping_add_signed(displacement))
        }
        _ => None,
    })
}

/// The addresses that code in `code` at `address` may take: `lea register, [rip + displacement]`. As for [`candidates`].
pub fn addresses(code: &[u8], address: u64) -> impl Iterator<Item = u64> {
    code.windows(7).zip(0_u64..).filter_map(move |(window, at)| match *window {
        [0x48 | 0x4c, 0x8d, operands, a, b, c, d] if operands & 0xc7 == 5 => {
            let displacement = i64::from(i32::from_le_bytes([a, b, c, d]));
            Some(address.wrapping_add(at).wrapping_add(7).wrapping_add_signed(displacement))
        }
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn jumps_lead_where_their_displacement_says() {
        let first = |code: &[u8]| first(code, 0x1000);
        assert_eq!(first(&[0xe9, 0xfb, 0xff, 0xff, 0xff, 0x90]), Some(Destination::Code(0x1000)));
        assert_eq!(first(&[0xeb, 0xfe]), Some(Destination::Code(0x1000)));
        assert_eq!(first(&[0xff, 0x25, 0x10, 0, 0, 0]), Some(Destination::Slot(0x1016)));
        assert_eq!(first(&[0xf2, 0xff, 0x25, 0x10, 0, 0, 0]), Some(Destination::Slot(0x1017)));
        assert_eq!(
            first(&[0xf3, 0x0f, 0x1e, 0xfa, 0xff, 0x25, 0x10, 0, 0, 0]),
            Some(Destination::Slot(0x101a))
        );
        for none in [&[][..], &[0xc3], &[0xe9, 1, 2], &[0xff, 0xe0], &[0xe8, 0, 0, 0, 0]] {
            assert_eq!(first(none), None, "{none:x?}");
        }
        // At either end of the address space, where a file that lies may put its code.
        assert_eq!(
            super::first(&[0xe9, 0, 0, 0, 0x80], 0),
            Some(Destination::Code(5_u64.wrapping_sub(1 << 31)))
        );
        assert_eq!(super::first(&[0xeb, 0x7f], u64::MAX), Some(Destination::Code(0x80)));
    }

    #[test]
    fn calls_are_found_anywhere_in_a_function() {
        let code = [0x53, 0xe8, 1, 0, 0, 0, 0x5b, 0xe9, 0, 0, 0, 0];
        assert_eq!(candidates(&code, 0x100).collect::<Vec<_>>(), [0x107, 0x10c]);
        assert_eq!(candidates(&[0xe8, 1, 0], 0).count(), 0);
        assert_eq!(candidates(&[0xe8, 0xff, 0xff, 0xff, 0x7f], u64::MAX).count(), 1);
    }

    #[test]
    fn addresses_that_code_takes() {
        // lea rax, [rip - 0x6d]; lea rdi, [rax + 8]; lea r9, [rip + 0x10]
        let code = [
            0x48, 0x8d, 0x05, 0x93, 0xff, 0xff, 0xff, 0x48, 0x8d, 0x78, 0x08, 0x4c, 0x8d, 0x0d, 0x10, 0, 0, 0,
        ];
        assert_eq!(addresses(&code, 0x1000).collect::<Vec<_>>(), [0x1000 + 7 - 0x6d, 0x1000 + 18 + 0x10]);
        assert_eq!(addresses(&code[..6], 0x1000).count(), 0);
    }
}
