//! The registers of the calling thread: the only reader of the kernel's `pt_regs`.
//!
//! Each register is read by itself, and without a choice between them: chosen between, or merged into one read, the
//! context's address would be a number to the verifier, which refuses that.

use core::ptr::read_volatile;

use aya_ebpf::{
    bindings::pt_regs,
    helpers::{
        bpf_probe_read_kernel,
        generated::{bpf_get_current_task_btf, bpf_task_pt_regs},
    },
    programs::{FExitContext, ProbeContext, RetProbeContext},
};
use tracer_common::{
    arch::{PRESERVED_WORD, RESULT_WORD, SAVED_WORD_BY_DWARF},
    site::NO_REGISTER,
};

/// Position of a thread.
#[derive(Clone, Copy)]
pub struct Position {
    pub pc: u64,
    pub sp: u64,
    pub fp: u64,
}

/// The context of a program at an instruction, or at a return.
pub trait Registers {
    fn regs(&self) -> *const pt_regs;
}

impl Registers for ProbeContext {
    #[inline(always)]
    fn regs(&self) -> *const pt_regs {
        self.regs
    }
}

impl Registers for RetProbeContext {
    #[inline(always)]
    fn regs(&self) -> *const pt_regs {
        self.regs
    }
}

/// The stack pointer.
#[inline(always)]
pub fn sp(ctx: &impl Registers) -> u64 {
    // SAFETY: the context of a uprobe is the thread's registers.
    unsafe { read_volatile(&raw const (*ctx.regs()).rsp) }
}

/// The frame pointer.
#[inline(always)]
pub fn fp(ctx: &impl Registers) -> u64 {
    // SAFETY: as above.
    unsafe { read_volatile(&raw const (*ctx.regs()).rbp) }
}

/// The pc, the stack pointer and the frame pointer.
#[inline(always)]
pub fn position(ctx: &impl Registers) -> Position {
    // SAFETY: as above.
    let pc = unsafe { read_volatile(&raw const (*ctx.regs()).rip) };
    Position { pc, sp: sp(ctx), fp: fp(ctx) }
}

/// The result of the function that returns.
#[inline(always)]
pub fn result(ctx: &RetProbeContext) -> u64 {
    // SAFETY: as above.
    unsafe { read_volatile(&raw const (*ctx.regs()).rax) }
}

/// The first five arguments of the function at whose entry the thread is.
#[inline(always)]
pub fn arguments(ctx: &ProbeContext) -> [u64; 5] {
    // SAFETY: as above.
    unsafe {
        let regs = ctx.regs();
        [
            read_volatile(&raw const (*regs).rdi),
            read_volatile(&raw const (*regs).rsi),
            read_volatile(&raw const (*regs).rdx),
            read_volatile(&raw const (*regs).rcx),
            read_volatile(&raw const (*regs).r8),
        ]
    }
}

/// An argument of the function at whose entry the thread is. `index` must be a constant.
#[inline(always)]
pub fn argument(ctx: &ProbeContext, index: usize) -> u64 {
    ctx.arg::<u64>(index).unwrap_or(0)
}

/// The register that is this word of `pt_regs`, or [`NO_REGISTER`]. Read by a helper, since the verifier does not know
/// which it is; those that it mostly is need none.
#[inline(always)]
pub fn by_word(ctx: &ProbeContext, word: u8) -> Option<u64> {
    // SAFETY: as above.
    let (result, preserved) =
        unsafe { (read_volatile(&raw const (*ctx.regs()).rax), read_volatile(&raw const (*ctx.regs()).rbx)) };
    match word {
        NO_REGISTER => None,
        RESULT_WORD => Some(result),
        PRESERVED_WORD => Some(preserved),
        // SAFETY: a kernel address; the helper checks it.
        _ => unsafe { bpf_probe_read_kernel((ctx.regs() as *const u64).wrapping_add(word as usize)) }.ok(),
    }
}

static WORDS: [u8; 16] = SAVED_WORD_BY_DWARF;

/// The register with this DWARF number.
#[inline(always)]
pub fn by_dwarf(ctx: &ProbeContext, number: u8) -> u64 {
    let word = WORDS[(number & 15) as usize];
    let address = (ctx.regs() as *const u64).wrapping_add(word as usize);
    // SAFETY: inside the context's `pt_regs`; the helper checks the address.
    unsafe { bpf_probe_read_kernel(address) }.unwrap_or(0)
}

/// Position of the calling thread in user space, when it is in a system call or an exception.
#[inline(always)]
pub fn in_user_space() -> Option<Position> {
    // SAFETY: the current task always has user registers here; their layout is the kernel's ABI. One by one: all of
    // them would take much of the BPF stack.
    unsafe {
        let regs = bpf_task_pt_regs(bpf_get_current_task_btf()) as *const pt_regs;
        let pc = bpf_probe_read_kernel(&raw const (*regs).rip);
        let sp = bpf_probe_read_kernel(&raw const (*regs).rsp);
        let fp = bpf_probe_read_kernel(&raw const (*regs).rbp);
        match (pc, sp, fp) {
            (Ok(pc), Ok(sp), Ok(fp)) => Some(Position { pc, sp, fp }),
            _ => None,
        }
    }
}

/// The first five arguments of the system call that the calling thread is in.
#[inline(always)]
pub fn system_call_arguments() -> Option<[u64; 5]> {
    // SAFETY: as for `in_user_space`.
    unsafe {
        let regs = bpf_task_pt_regs(bpf_get_current_task_btf()) as *const pt_regs;
        Some([
            bpf_probe_read_kernel(&raw const (*regs).rdi).ok()?,
            bpf_probe_read_kernel(&raw const (*regs).rsi).ok()?,
            bpf_probe_read_kernel(&raw const (*regs).rdx).ok()?,
            bpf_probe_read_kernel(&raw const (*regs).r10).ok()?,
            bpf_probe_read_kernel(&raw const (*regs).r8).ok()?,
        ])
    }
}

/// The number and the arguments of the system call whose function in the kernel returns.
#[inline(always)]
pub fn system_call(ctx: &FExitContext) -> (u32, [u64; 5]) {
    let regs: *const pt_regs = ctx.arg(0);
    // SAFETY: the function's argument, which the verifier knows to be the caller's registers; it checks each read.
    unsafe {
        let number = read_volatile(&raw const (*regs).orig_rax) as u32;
        let arguments = [
            read_volatile(&raw const (*regs).rdi),
            read_volatile(&raw const (*regs).rsi),
            read_volatile(&raw const (*regs).rdx),
            read_volatile(&raw const (*regs).r10),
            read_volatile(&raw const (*regs).r8),
        ];
        (number, arguments)
    }
}
