//! Slow paths of barriers: where compiled code calls the JVM with the stack pointer below its frame.
//!
//! C2 puts the slow paths of some collectors' barriers (ZGC, G1 from 24 on) behind a method's own
//! instructions: each makes a frame on the stack, saves live registers there, calls the JVM, restores
//! the registers, frees the frame and jumps to where it came from. No table of the JVM has the
//! frame's size, so the instructions after the call are read: nothing but restores, then
//! `add rsp, N`, then a jump. An epilogue frees its frame the same way, but goes on to a `pop`.
//!
//! One instruction at a time, from the 8 bytes at its start, so that BPF can loop in its own way.

/// Instructions looked at after a call: 32 general registers, 32 vectors, 8 masks, and a few more.
pub const MAX_RESTORES: u32 = 80;
/// The most that a slow path can need: what [`MAX_RESTORES`] registers take, bytes.
const MAX_FRAME_BYTES: u64 = 4096;

/// The frame that a slow path made, found by the instructions after its call:
/// `while frame.wants() { frame.take(word at frame.pc) }`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SlowPathFrame {
    /// The instruction to be read next.
    pub pc: u64,
    bytes: u64,
    state: u64,
}

const READING: u64 = 0;
/// A jump ended the instructions: `bytes` is what was given back.
const JUMPED: u64 = 1;
/// An instruction that no slow path has.
const OTHER: u64 = 2;

impl SlowPathFrame {
    /// A frame that begins after the call that returns to `pc`.
    #[inline(always)]
    pub fn after(pc: u64) -> Self {
        Self { pc, bytes: 0, state: READING }
    }

    /// Is there another instruction to be read?
    #[inline(always)]
    pub fn wants(&self) -> bool {
        self.state == READING
    }

    /// Takes the 8 bytes at `pc`.
    #[inline(always)]
    pub fn take(&mut self, word: u64) {
        match decode(word) {
            Instruction::Restore { length } if self.bytes == 0 => self.pc = self.pc.wrapping_add(length),
            Instruction::Free { bytes, length }
                if self.bytes == 0 && bytes != 0 && bytes <= MAX_FRAME_BYTES && bytes & 7 == 0 =>
            {
                self.bytes = bytes;
                self.pc = self.pc.wrapping_add(length);
            }
            Instruction::Jump => self.state = JUMPED,
            _ => self.state = OTHER,
        }
    }

    /// Distance of the stack pointer below the frame at the call, bytes.
    #[inline(always)]
    pub fn bytes(&self) -> u64 {
        if self.state == JUMPED { self.bytes } else { 0 }
    }
}

/// An instruction, as far as it matters here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Instruction {
    /// Moves a register to another, or a stack slot to a register.
    Restore {
        length: u64,
    },
    /// `add rsp, bytes`, sign-extended.
    Free {
        bytes: u64,
        length: u64,
    },
    /// `jmp`, relative.
    Jump,
    Other,
}

#[inline(always)]
fn decode(word: u64) -> Instruction {
    let first = word as u8;
    match word & 0xff_ffff {
        // REX.W 83 /0 ib
        0xc4_8348 => return Instruction::Free { bytes: (word >> 24) as i8 as i64 as u64, length: 4 },
        // REX.W 81 /0 id
        0xc4_8148 => return Instruction::Free { bytes: (word >> 24) as i32 as i64 as u64, length: 7 },
        // vzeroupper
        0x77_f8c5 => return Instruction::Restore { length: 3 },
        _ => {}
    }
    match first {
        0xe9 | 0xeb => Instruction::Jump,
        // VEX of 2 bytes
        0xc5 => vector(word >> 16, 2, (word >> 8) & 3 == PREFIX_F3),
        // VEX of 3 bytes, in the map 0F
        0xc4 if (word >> 8) & 0x1f == 1 => vector(word >> 24, 3, (word >> 16) & 3 == PREFIX_F3),
        // EVEX, in the map 0F
        0x62 if (word >> 8) & 7 == 1 => vector(word >> 32, 4, (word >> 16) & 3 == PREFIX_F3),
        // REX2, in the first map
        0xd5 if (word >> 8) & 0x80 == 0 => general(word >> 16, 2),
        0x40..=0x4f => general(word >> 8, 1),
        // SSE: a prefix, perhaps REX, 0F
        0xf2 | 0xf3 | 0x66 => {
            let has_rex = (word >> 8) & 0xf0 == 0x40;
            let (rest, before) = if has_rex { (word >> 16, 2) } else { (word >> 8, 1) };
            if rest & 0xff == 0x0f {
                vector(rest >> 8, before + 1, first == 0xf3)
            } else {
                Instruction::Other
            }
        }
        _ => general(word, 0),
    }
}

/// `rest` starts at the opcode, which `before` bytes precede: a general register from another, or
/// from the stack.
#[inline(always)]
fn general(rest: u64, before: u64) -> Instruction {
    let (opcode, modrm) = (rest as u8, (rest >> 8) as u8);
    if modrm >> 6 == 3 {
        // mov r, r, both ways to write it
        return match opcode {
            0x8b | 0x89 => Instruction::Restore { length: before + 2 },
            _ => Instruction::Other,
        };
    }
    if opcode == 0x8b { stack_operand(rest >> 8, before + 1) } else { Instruction::Other }
}

/// VEX and EVEX have the prefix F3 as these two bits.
const PREFIX_F3: u64 = 2;

/// The same for vector and mask registers, from the stack: movsd and movss, movaps, movdqa and
/// movdqu, kmov; and movq, which has the prefix F3 (with another, its opcode stores).
#[inline(always)]
fn vector(rest: u64, before: u64, has_f3: bool) -> Instruction {
    match rest as u8 {
        0x7e if has_f3 => stack_operand(rest >> 8, before + 1),
        0x10 | 0x28 | 0x6f | 0x90 => stack_operand(rest >> 8, before + 1),
        _ => Instruction::Other,
    }
}

/// `rest` starts at ModRM, which must name memory at rsp and a constant.
#[inline(always)]
fn stack_operand(rest: u64, before: u64) -> Instruction {
    let (modrm, sib) = (rest as u8, (rest >> 8) as u8);
    if modrm & 7 != 4 || sib != 0x24 {
        return Instruction::Other;
    }
    let displacement_bytes = match modrm >> 6 {
        0 => 0,
        1 => 1,
        2 => 4,
        _ => return Instruction::Other,
    };
    Instruction::Restore { length: before + 2 + displacement_bytes }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn freed_bytes(code: &[u8]) -> u64 {
        let mut frame = SlowPathFrame::after(0);
        let mut steps = 0;
        while frame.wants() && steps < MAX_RESTORES {
            let mut bytes = [0; 8];
            let rest = code.get(frame.pc as usize..).unwrap_or_default();
            let length = rest.len().min(8);
            bytes[..length].copy_from_slice(&rest[..length]);
            frame.take(u64::from_le_bytes(bytes));
            steps += 1;
        }
        frame.bytes()
    }

    const ADD_48: &[u8] = &[0x48, 0x83, 0xc4, 0x30];
    const JUMP: &[u8] = &[0xe9, 1, 2, 3, 4];

    #[test]
    fn a_slow_path_gives_back_what_it_took() {
        let restores: &[&[u8]] = &[
            &[0x4c, 0x8b, 0xc8],                                     // mov r9, rax
            &[0x48, 0x89, 0xc2],                                     // mov rdx, rax
            &[0x48, 0x8b, 0x04, 0x24],                               // mov rax, [rsp]
            &[0x4c, 0x8b, 0x5c, 0x24, 0x28],                         // mov r11, [rsp+0x28]
            &[0x48, 0x8b, 0x8c, 0x24, 0x80, 0, 0, 0],                // mov rcx, [rsp+0x80]
            &[0xf2, 0x44, 0x0f, 0x10, 0x44, 0x24, 8],                // movsd xmm8, [rsp+8]
            &[0xf3, 0x0f, 0x6f, 0x04, 0x24],                         // movdqu xmm0, [rsp]
            &[0xc5, 0xfb, 0x10, 0x44, 0x24, 0x10],                   // vmovsd xmm0, [rsp+0x10]
            &[0xc5, 0xfa, 0x7e, 0x74, 0x24, 0x50],                   // vmovq xmm6, [rsp+0x50]
            &[0xf3, 0x44, 0x0f, 0x7e, 0x44, 0x24, 8],                // movq xmm8, [rsp+8]
            &[0x62, 0xe1, 0xfe, 0x08, 0x7e, 0x44, 0x24, 1],          // vmovq xmm16, [rsp+8]
            &[0xc5, 0xfe, 0x6f, 0x8c, 0x24, 0x40, 1, 0, 0],          // vmovdqu ymm1, [rsp+0x140]
            &[0xc4, 0xe1, 0xf8, 0x90, 0x4c, 0x24, 0x18],             // kmovq k1, [rsp+0x18]
            &[0x62, 0xf1, 0x7e, 0x48, 0x6f, 0x44, 0x24, 1],          // vmovdqu32 zmm0, [rsp+0x40]
            &[0x62, 0xf1, 0x7e, 0x48, 0x6f, 0x84, 0x24, 1, 0, 0, 0], // the same, far away
            &[0xd5, 0x48, 0x8b, 0x44, 0x24, 8],                      // mov r16, [rsp+8]
            &[0xc5, 0xf8, 0x77],                                     // vzeroupper
        ];
        for restore in restores {
            assert_eq!(freed_bytes(&[restore, ADD_48, JUMP].concat()), 48, "{restore:x?}");
        }
        assert_eq!(freed_bytes(&[&restores.concat(), ADD_48, JUMP].concat()), 48);
        let far = [0x48, 0x81, 0xc4, 0x40, 0x02, 0, 0];
        assert_eq!(freed_bytes(&[&far[..], &[0xeb, 0x80]].concat()), 0x240);
    }

    #[test]
    fn other_calls_took_nothing() {
        let epilogue = [ADD_48, &[0x5d], JUMP].concat();
        assert_eq!(freed_bytes(&epilogue), 0, "add rsp; pop rbp");
        assert_eq!(
            freed_bytes(&[&[0x48, 0x8b, 0x44, 0x24, 8], &[0x85, 0xc0][..], ADD_48, JUMP].concat()),
            0,
            "test"
        );
        assert_eq!(freed_bytes(&[ADD_48, ADD_48, JUMP].concat()), 0, "freed twice");
        assert_eq!(freed_bytes(&[&[0x66, 0x0f, 0x7e, 0x04, 0x24][..], ADD_48, JUMP].concat()), 0, "a store");
        assert_eq!(freed_bytes(JUMP), 0, "nothing was saved");
        assert_eq!(
            freed_bytes(&[&[0x48, 0x8b, 0x03], ADD_48, JUMP].concat()),
            0,
            "from elsewhere than the stack"
        );
        assert_eq!(freed_bytes(&[&[0x48, 0x83, 0xc4, 0x33][..], JUMP].concat()), 0, "no words");
        assert_eq!(freed_bytes(&[&[0x48, 0x83, 0xc4, 0xf8][..], JUMP].concat()), 0, "less than nothing");
        assert_eq!(freed_bytes(&[&[0x48, 0x81, 0xc4, 0, 0, 1, 0][..], JUMP].concat()), 0, "too much");
        assert_eq!(freed_bytes(&[]), 0);
        assert_eq!(freed_bytes(&[0xc3]), 0);
    }

    #[test]
    fn restores_without_end_are_given_up() {
        assert_eq!(freed_bytes(&[0x48, 0x89, 0xc2].repeat(MAX_RESTORES as usize + 1)), 0);
    }
}
