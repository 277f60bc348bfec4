//! A row of call-frame information, as gimli evaluates it, in the format of the BPF programs.
//!
//! x86-64 alone. A rule that the format cannot say becomes [`rule::UNSUPPORTED`], never something near it.

use gimli::{
    CfaRule, EndianSlice, LittleEndian, Register, RegisterRule, UnwindContextStorage, UnwindExpression,
    UnwindSection, UnwindTableRow, X86_64, constants as dw,
};
use tracer_common::arch::SIGNAL_SP;
use tracer_common::unwind::{Row, rule};

/// Form in which gimli reads sections here.
pub(super) type Slice<'a> = EndianSlice<'a, LittleEndian>;

/// gimli's row, with room for nested remembered states; a file that needs more rules for a
/// function than this has it unsupported.
#[derive(Debug)]
pub(super) struct Storage;

impl UnwindContextStorage<usize> for Storage {
    type Rules = [(Register, RegisterRule<usize>); 40];
    type Stack = Box<[UnwindTableRow<usize, Self>; 8]>;
}

/// [`SIGNAL_SP`] as a signed LEB128 of two bytes: how glibc and the kernel describe a signal trampoline's CFA.
const SIGNAL_SP_OFFSET: [u8; 2] = [SIGNAL_SP as u8 | 0x80, (SIGNAL_SP >> 7) as u8];

/// Turns gimli's `row` into one that begins at `pc`. `signal`: the function is marked as a signal
/// trampoline.
pub(super) fn from_gimli<'a, S: UnwindSection<Slice<'a>>>(
    section: &S,
    row: &UnwindTableRow<usize, Storage>,
    signal: bool,
    pc: u32,
) -> Row {
    let unsupported = Row { pc, cfa_words: 0, rule: rule::UNSUPPORTED, fp_words: 0 };
    let cfa = cfa_rule(section, row.cfa(), signal);
    if cfa.rule == rule::SIGNAL {
        return Row { pc, ..cfa };
    }
    match row.register(X86_64::RA) {
        Some(RegisterRule::Undefined) => {
            return Row { pc, cfa_words: 0, rule: rule::ROOT, fp_words: 0 };
        }
        Some(RegisterRule::Offset(-8)) => {}
        _ => return unsupported,
    }
    if cfa.rule == rule::UNSUPPORTED {
        return unsupported;
    }
    let fp_words = match row.register(X86_64::RBP) {
        None | Some(RegisterRule::Undefined | RegisterRule::SameValue) => 0,
        Some(RegisterRule::Offset(offset)) if cfa.rule != rule::FP_INDIRECT => {
            match i8::try_from(offset / 8) {
                Ok(words) if offset % 8 == 0 && words != 0 => words,
                _ => return unsupported,
            }
        }
        Some(RegisterRule::Expression(expression)) if cfa.rule == rule::FP_INDIRECT => {
            match expression_bytes(section, &expression) {
                Some(&[BREG_RBP, 0]) => -1,
                _ => return unsupported,
            }
        }
        Some(_) => return unsupported,
    };
    Row { pc, fp_words, ..cfa }
}

const BREG_RBP: u8 = dw::DW_OP_breg6.0;
const BREG_RSP: u8 = dw::DW_OP_breg7.0;
const BREG_RIP: u8 = dw::DW_OP_breg16.0;
const DEREF: u8 = dw::DW_OP_deref.0;
const LIT0: u8 = dw::DW_OP_lit0.0;
const LIT3: u8 = dw::DW_OP_lit3.0;
const LIT15: u8 = dw::DW_OP_lit15.0;
const AND: u8 = dw::DW_OP_and.0;
const GE: u8 = dw::DW_OP_ge.0;
const SHL: u8 = dw::DW_OP_shl.0;
const PLUS: u8 = dw::DW_OP_plus.0;

/// The rule and offset of the CFA; pc and rbp are left 0.
fn cfa_rule<'a, S: UnwindSection<Slice<'a>>>(section: &S, cfa: &CfaRule<usize>, signal: bool) -> Row {
    let row = |rule, cfa_words| Row { pc: 0, cfa_words, rule, fp_words: 0 };
    let unsupported = row(rule::UNSUPPORTED, 0);
    match cfa {
        CfaRule::RegisterAndOffset { register, offset } => {
            let Ok(words) = u16::try_from(offset / 8) else { return unsupported };
            match *register {
                _ if offset % 8 != 0 => unsupported,
                X86_64::RSP => row(rule::SP, words),
                X86_64::RBP => row(rule::FP, words),
                _ => unsupported,
            }
        }
        CfaRule::Expression(expression) => match expression_bytes(section, expression) {
            // Expression that every linker writes for a PLT: 8 more once the entry's `push` has run.
            Some(&[BREG_RSP, 8, BREG_RIP, 0, LIT15, AND, limit @ LIT0..=LIT15, GE, LIT3, SHL, PLUS]) => {
                row(rule::PLT, u16::from(limit - LIT0))
            }
            Some(&[BREG_RSP, low, high, DEREF]) if signal && [low, high] == SIGNAL_SP_OFFSET => {
                row(rule::SIGNAL, 0)
            }
            // `DW_OP_breg6 -8n, DW_OP_deref`, the offset a signed LEB128 of one byte.
            Some(&[BREG_RBP, offset @ 0x40..=0x7f, DEREF]) if offset % 8 == 0 => {
                row(rule::FP_INDIRECT, u16::from(0x80 - offset) / 8)
            }
            _ => unsupported,
        },
    }
}

fn expression_bytes<'a, S: UnwindSection<Slice<'a>>>(
    section: &S,
    expression: &UnwindExpression<usize>,
) -> Option<&'a [u8]> {
    expression.get(section).ok().map(|expression| expression.0.slice())
}
