//! Placement of a probe in a function.
//!
//! A uprobe replaces an instruction by `int3`. The kernel then either *emulates* the replaced
//! instruction, at the price of one trap, or single-steps a copy of it out of line, at the price of
//! two, the second up to ten times dearer under virtualisation. So the first instruction that the
//! kernel emulates is taken, as long as from the entry to it
//!
//! - only falling through leads there (no branch of the module lands behind the entry),
//! - the argument registers that matter are not written,
//! - for a return probe, rsp is not written: the return address is still at the top of the stack,
//! - nothing can leave the function.
//!
//! Otherwise the entry is taken. An address that was not decoded is never given: a breakpoint
//! inside an instruction corrupts the target.
//!
//! Emulated instructions: `arch/x86/kernel/uprobes.c`, `branch_setup_xol_ops` and `push_setup_xol_ops`,
//! alike from 5.17 to 6.18. Kernels since 6.16 emulate longer nops as well, and before 6.2 a nop
//! with an operand-size prefix is refused: neither is chosen here.

use iced_x86::{
    Code as Opcode, Decoder, DecoderOptions, EncodingKind, FlowControl, Formatter, Instruction,
    InstructionInfoFactory, IntelFormatter, Mnemonic, OpAccess, OpKind, Register,
};
use thiserror::Error;

use crate::process::allocator::Function;
use crate::process::elf::{Elf, ElfError, Segment};
use crate::process::lifecycle::LifecycleFunction;

mod constants;
mod effect;
mod graph;
mod inside;
mod signature;
mod values;

pub use self::inside::{InsideSite, Role};

/// Instructions behind the entry among which a place is looked for; jemalloc's free needs 10.
const MAX_STEPS: usize = 16;
/// Size of a function above which it is not searched for branches, and gets its entry.
const MAX_FUNCTION_BYTES: u64 = 64 << 10;

/// Registers that a probe must find as they were at the function's entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Needs {
    /// The argument registers that the probe reads.
    pub arguments: &'static [Register],
    /// A return probe is attached at the same place.
    pub return_probe: bool,
}

impl Needs {
    /// The needs of the probes of an allocator function: size, count and pointers.
    pub fn of(function: Function) -> Self {
        use Register::{R8, RCX, RDI, RDX, RSI};
        let arguments: &'static [Register] = match function {
            Function::Malloc | Function::Valloc | Function::Pvalloc => &[RDI],
            Function::Free | Function::FreeSized | Function::FreeAlignedSized => &[RDI],
            Function::Calloc | Function::Realloc => &[RDI, RSI],
            // The alignment, too, is kept: as a probe may want it.
            Function::AlignedAlloc | Function::Memalign => &[RDI, RSI],
            Function::Reallocarray | Function::PosixMemalign => &[RDI, RSI, RDX],
            Function::Lifecycle(held) => match held {
                LifecycleFunction::InflateInit
                | LifecycleFunction::DeflateInit
                | LifecycleFunction::InflateEnd
                | LifecycleFunction::DeflateEnd => &[RDI],
                LifecycleFunction::DeflateCopy => &[RDI, RSI],
                LifecycleFunction::DeflateInit2 => &[RDI, RCX, R8],
                LifecycleFunction::InflaterInit | LifecycleFunction::DeflaterInit => &[],
                LifecycleFunction::ReallocateMemory => &[RDX, RCX],
                LifecycleFunction::AllocateMemory
                | LifecycleFunction::FreeMemory
                | LifecycleFunction::InflaterEnd
                | LifecycleFunction::DeflaterEnd => &[RDX],
            },
        };
        Self { arguments, return_probe: function.allocates() }
    }
}

/// A place for a probe.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Placement {
    /// ELF virtual address.
    pub vaddr: u64,
    /// Offset in the module's file: what a uprobe is attached by.
    pub file_offset: u64,
    /// The instruction there, in Intel syntax.
    pub instruction_text: String,
    /// The kernel emulates it, and does not step a copy.
    pub emulated: bool,
    /// Bytes behind the function's entry; before it, in a part of the function that is elsewhere.
    pub offset_from_entry: i64,
    /// The instruction at the entry, if that is not the place: the kernel would have to step a copy of it.
    pub stepped_at_entry: Option<String>,
}

/// Reason why a function cannot be probed.
#[derive(Debug, Error)]
pub enum PlacementError {
    #[error("address {0:#x} is in no executable segment of the file")]
    OutsideCode(u64),
    #[error("the instruction at {0:#x} cannot be decoded")]
    NotDecoded(u64),
    #[error("the kernel refuses a probe on the instruction at {vaddr:#x} ({instruction})")]
    Refused { vaddr: u64, instruction: String },
    #[error("the function at {0:#x} takes more arguments than the one of this name in C")]
    OtherSignature(u64),
    #[error(transparent)]
    Elf(#[from] ElfError),
}

/// An executable segment.
#[derive(Clone, Debug)]
pub struct Code {
    bytes: Vec<u8>,
    /// The address of the first byte.
    vaddr: u64,
    file_offset: u64,
}

impl Code {
    /// Takes the contents of an executable segment, its ELF virtual address and file offset.
    pub fn new(bytes: Vec<u8>, vaddr: u64, file_offset: u64) -> Self {
        Self { bytes, vaddr, file_offset }
    }

    /// Reads the executable segment of `elf` in which `vaddr` lies.
    ///
    /// # Errors
    /// There is none, or it cannot be read.
    pub fn containing(elf: &Elf, vaddr: u64) -> Result<Self, PlacementError> {
        let holds = |segment: &&Segment| segment.is_code() && segment.file_offset(vaddr).is_some();
        let segment = elf.segments.iter().find(holds).ok_or(PlacementError::OutsideCode(vaddr))?;
        Ok(Self::new(elf.bytes(segment.offset, segment.file_size)?, segment.vaddr, segment.offset))
    }

    /// Does `vaddr` lie in it?
    pub fn contains(&self, vaddr: u64) -> bool {
        self.from(vaddr).is_some_and(|bytes| !bytes.is_empty())
    }

    fn from(&self, vaddr: u64) -> Option<&[u8]> {
        self.bytes.get(usize::try_from(vaddr.checked_sub(self.vaddr)?).ok()?..)
    }

    /// Finds the place for a probe on the function at `entry` of `size` bytes (0: unknown).
    ///
    /// # Errors
    /// The entry is outside the segment, no instruction, or one that the kernel refuses.
    pub fn place(&self, entry: u64, size: u64, needs: Needs) -> Result<Placement, PlacementError> {
        let from_entry =
            self.from(entry).filter(|bytes| !bytes.is_empty()).ok_or(PlacementError::OutsideCode(entry))?;
        // The function's own bytes: what follows it is reached by other ways.
        let length = usize::try_from(size).unwrap_or(usize::MAX).min(from_entry.len());
        let bytes = if size == 0 { from_entry } else { from_entry.get(..length).unwrap_or(from_entry) };
        let mut decoder = Decoder::with_ip(64, bytes, entry, DecoderOptions::NONE);
        let mut accesses = InstructionInfoFactory::new();
        let mut instruction = Instruction::default();
        let mut first = None;
        for _ in 0..MAX_STEPS {
            if !decoder.can_decode() {
                break;
            }
            decoder.decode_out(&mut instruction);
            if instruction.is_invalid() {
                break;
            }
            let encoding = self.encoding(&instruction).unwrap_or_default();
            let at_entry = instruction.ip() == entry;
            let chosen = is_emulated(encoding) && !is_refused(&instruction, encoding);
            // A call is taken only as the entry, where there is no choice: behind it, stepping over
            // and a shadow stack would have to be thought of.
            if chosen
                && (at_entry || encoding.first() != Some(&CALL))
                && self.only_falls_through(entry, size, instruction.ip())
            {
                let stepped_at_entry = first.as_ref().map(text);
                return Ok(Placement { stepped_at_entry, ..self.placement(&instruction, entry, true) });
            }
            first.get_or_insert(instruction);
            if instruction.flow_control() != FlowControl::Next || spoils(&mut accesses, &instruction, needs) {
                break;
            }
        }
        let first = first.ok_or(PlacementError::NotDecoded(entry))?;
        if is_refused(&first, self.encoding(&first).unwrap_or_default()) {
            return Err(PlacementError::Refused { vaddr: entry, instruction: text(&first) });
        }
        Ok(self.placement(&first, entry, false))
    }

    fn encoding(&self, instruction: &Instruction) -> Option<&[u8]> {
        self.from(instruction.ip())?.get(..instruction.len())
    }

    fn placement(&self, instruction: &Instruction, entry: u64, emulated: bool) -> Placement {
        let vaddr = instruction.ip();
        Placement {
            vaddr,
            file_offset: vaddr - self.vaddr + self.file_offset,
            instruction_text: text(instruction),
            emulated,
            offset_from_entry: vaddr.wrapping_sub(entry).cast_signed(),
            stepped_at_entry: None,
        }
    }

    /// Does no branch land in `(entry, place]`?
    ///
    /// Two searches: every branch of the function as decoded, and every byte sequence of the whole
    /// segment that could be a far branch, for the parts of a function that compilers move away.
    fn only_falls_through(&self, entry: u64, size: u64, place: u64) -> bool {
        let behind_entry = |target: u64| entry < target && target <= place;
        if place == entry {
            return true;
        }
        if size == 0 || size > MAX_FUNCTION_BYTES {
            return false;
        }
        let Some(bytes) = self.from(entry).and_then(|bytes| bytes.get(..usize::try_from(size).ok()?)) else {
            return false;
        };
        let mut added = [Register::None; 4];
        for (index, instruction) in
            Decoder::with_ip(64, bytes, entry, DecoderOptions::NONE).iter().enumerate()
        {
            if instruction.is_invalid() {
                return false;
            }
            if instruction.op0_kind() == OpKind::NearBranch64
                && behind_entry(instruction.near_branch_target())
            {
                return false;
            }
            // A jump through a table, whose targets are not known: an indexed jump, or one to a sum.
            if instruction.flow_control() == FlowControl::IndirectBranch {
                let by_sum =
                    instruction.op0_kind() == OpKind::Register && added.contains(&instruction.op0_register());
                if by_sum || instruction.memory_index() != Register::None {
                    return false;
                }
            }
            if let Some(slot) = added.get_mut(index % 4) {
                let is_sum =
                    instruction.mnemonic() == Mnemonic::Add && instruction.op0_kind() == OpKind::Register;
                *slot = if is_sum { instruction.op0_register() } else { Register::None };
            }
        }
        !self.far_branches().any(|(_, target)| behind_entry(target))
    }

    /// Possible branches of the segment with a 32-bit displacement: the address behind each, and its target.
    fn far_branches(&self) -> impl Iterator<Item = (u64, u64)> {
        let opcodes =
            self.bytes.iter().enumerate().filter(|(_, byte)| matches!(**byte, CALL | 0xe9 | 0x80..=0x8f));
        opcodes.filter_map(|(index, byte)| {
            let two_bytes = || index.checked_sub(1).and_then(|before| self.bytes.get(before)) == Some(&0x0f);
            if matches!(byte, 0x80..=0x8f) && !two_bytes() {
                return None;
            }
            let end = index.checked_add(5)?;
            let displacement = i32::from_le_bytes(self.bytes.get(index + 1..end)?.try_into().ok()?);
            let end = self.vaddr.wrapping_add(end as u64);
            Some((end, end.wrapping_add_signed(i64::from(displacement))))
        })
    }
}

const CALL: u8 = 0xe8;

/// Does the kernel emulate an instruction of these bytes? Only whole encodings without a prefix:
/// a prefix changes what the kernel does, or makes it refuse.
fn is_emulated(encoding: &[u8]) -> bool {
    match encoding {
        // push of a general register
        [0x50..=0x57] | [0x41, 0x50..=0x57] => true,
        // jmp and conditional jmp, short and near
        [0xeb | 0x70..=0x7f, _] | [0xe9, _, _, _, _] | [0x0f, 0x80..=0x8f, _, _, _, _] => true,
        [CALL, _, _, _, _] => true,
        [0x90] => true,
        _ => false,
    }
}

/// Does the kernel refuse a probe there (`uprobe_init_insn`, `is_prefix_bad`)?
fn is_refused(instruction: &Instruction, encoding: &[u8]) -> bool {
    let prefixes = encoding
        .iter()
        .take_while(|byte| matches!(byte, 0x26 | 0x2e | 0x36 | 0x3e | 0x64..=0x67 | 0xf0 | 0xf2 | 0xf3));
    let mut prefixes = prefixes.copied();
    let bad = prefixes.clone().any(|byte| matches!(byte, 0x26 | 0x2e | 0x36 | 0x3e | 0xf0));
    let short_branch = prefixes.any(|byte| byte == 0x66) && instruction.op0_kind() == OpKind::NearBranch64;
    let kind = matches!(instruction.encoding(), EncodingKind::EVEX | EncodingKind::XOP | EncodingKind::MVEX);
    let trap = matches!(instruction.flow_control(), FlowControl::Interrupt | FlowControl::Exception)
        || matches!(instruction.code(), Opcode::Syscall | Opcode::Sysenter);
    bad || short_branch || kind || trap || instruction.is_privileged()
}

/// Does the instruction write something that a probe behind it needs?
fn spoils(accesses: &mut InstructionInfoFactory, instruction: &Instruction, needs: Needs) -> bool {
    let written = |register: Register| {
        needs.arguments.contains(&register) || (needs.return_probe && register == Register::RSP)
    };
    accesses.info(instruction).used_registers().iter().any(|used| {
        let reads = matches!(
            used.access(),
            OpAccess::None | OpAccess::Read | OpAccess::CondRead | OpAccess::NoMemAccess
        );
        !reads && written(used.register().full_register())
    })
}

fn text(instruction: &Instruction) -> String {
    let mut formatter = IntelFormatter::new();
    formatter.options_mut().set_hex_prefix("0x");
    formatter.options_mut().set_hex_suffix("");
    formatter.options_mut().set_uppercase_hex(false);
    formatter.options_mut().set_space_after_operand_separator(true);
    formatter.options_mut().set_branch_leading_zeros(false);
    formatter.options_mut().set_show_branch_size(false);
    let mut text = String::new();
    formatter.format(instruction, &mut text);
    text
}

#[cfg(test)]
mod tests;
