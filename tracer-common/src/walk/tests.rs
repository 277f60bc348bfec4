//! Each rule alone, over a made-up memory.

use std::collections::HashMap;

use super::*;
use crate::config::CodeHeap;

const LIBRARY: u64 = 0x7f00_0000_0000;
const HEAP: u64 = 0x7e00_0000_0000;
const SEGMENTS: u64 = 0x7d00_0000_0000;
const SP: u64 = 0x7fff_0000_1000;
const FP: u64 = SP + 0x100;
/// Address of a Java caller.
const JAVA: u64 = HEAP + 0xB_0000;

struct Fake {
    words: HashMap<u64, u64>,
    segments: Vec<u8>,
    rows: Vec<Row>,
    jvm: Jvm,
    trampoline: u64,
    hidden_return: Option<(u64, u64)>,
}

impl Fake {
    fn new() -> Self {
        let mut jvm = Jvm::ZERO;
        jvm.code_low = HEAP;
        jvm.code_high = HEAP + 0x10_0000;
        jvm.interpreter_low = HEAP + 0x8_0000;
        jvm.interpreter_high = HEAP + 0x9_0000;
        jvm.call_stub_return = HEAP + 0xA_0000;
        jvm.return_barrier = HEAP + 0xA_0100;
        jvm.heaps[2] = CodeHeap { low: HEAP, high: HEAP + 0x10_0000, segment_map: SEGMENTS };
        jvm.heap_count = 3;
        jvm.log2_segment_bytes = 7;
        jvm.heap_block_bytes = 16;
        jvm.block_used = 8;
        jvm.blob_frame_size = 0x20;
        jvm.nmethod_compile_id = 0x28;
        jvm.nmethod_orig_pc_offset = 0x30;
        jvm.nmethod_deopt_handler = 0x38;
        jvm.nmethod_deopt_mh_handler = 0x40;
        jvm.blob_kind = u32::MAX;
        jvm.blob_name = 0x48;
        jvm.name_nmethod = 0x1111;
        jvm.name_native_nmethod = 0x2222;
        jvm.method_const_method = 8;
        Self {
            words: HashMap::new(),
            segments: vec![0xff; 0x2000],
            rows: Vec::new(),
            jvm,
            trampoline: 0,
            hidden_return: None,
        }
    }

    fn row(mut self, pc: u32, rule: u8, cfa_words: u16, fp_words: i8) -> Self {
        self.rows.push(Row { pc, cfa_words, rule, fp_words });
        self
    }

    fn word(mut self, address: u64, value: u64) -> Self {
        self.words.insert(address, value);
        self
    }

    /// An nmethod in segments 4..=7, with a frame of `frame_words` words; gives its blob's address.
    fn nmethod(self, frame_words: u64, name: u64) -> (Self, u64) {
        let block = HEAP + (4 << 7);
        let blob = block + 16;
        let mut fake = self
            .word(block + 8, 1)
            .word(blob + 0x20, frame_words)
            .word(blob + 0x28, 77)
            .word(blob + 0x30, 0x18)
            .word(blob + 0x38, HEAP + (7 << 7))
            .word(blob + 0x40, 0)
            .word(blob + 0x48, name);
        fake.segments[4..8].copy_from_slice(&[0, 1, 2, 1]);
        (fake, blob)
    }

    fn step(&self, state: &mut State) -> (Frame, Option<Stop>) {
        let mut frame = Frame::ZERO;
        let stop = step(state, self, &mut frame);
        (frame, stop)
    }
}

impl CodeSource for Fake {
    fn read(&self, address: u64) -> Option<u64> {
        self.words.get(&address).copied()
    }
    fn read_u32(&self, address: u64) -> Option<u32> {
        self.read(address).map(|word| word as u32)
    }
    fn read_u8(&self, address: u64) -> Option<u8> {
        match address.checked_sub(SEGMENTS).and_then(|i| self.segments.get(i as usize)) {
            Some(tag) => Some(*tag),
            None => self.read(address).map(|word| word as u8),
        }
    }
}

impl WalkSource for Fake {
    fn jvm(&self) -> &Jvm {
        &self.jvm
    }
    fn module(&self, pc: u64) -> Option<ModuleRows> {
        let row_count = self.rows.len() as u32;
        (LIBRARY..LIBRARY + 0x10_0000).contains(&pc).then_some(ModuleRows {
            bias: LIBRARY,
            first_row: 9,
            row_count,
        })
    }
    fn row(&self, module: ModuleRows, relative_pc: u32) -> Option<Row> {
        let mut bisect = Bisect::new(module.first_row, module.row_count);
        while let Some(middle) = bisect.middle() {
            bisect.narrow(middle, self.rows[(middle - 9) as usize].pc <= relative_pc);
        }
        bisect.found().map(|index| self.rows[(index - 9) as usize])
    }
    fn trampoline(&self) -> u64 {
        self.trampoline
    }
    fn original_return(&self, stack_slot: u64) -> Option<u64> {
        self.hidden_return.filter(|(slot, _)| *slot == stack_slot).map(|(_, pc)| pc)
    }
}

fn returned_to(pc: u64) -> State {
    State::returned(pc, SP, FP)
}

#[test]
fn bisect_finds_the_last_not_above() {
    let values = [10, 20, 20, 30];
    for (wanted, expected) in [(5, None), (10, Some(7)), (25, Some(9)), (99, Some(10))] {
        let mut bisect = Bisect::new(7, 4);
        let mut steps = 0;
        while let Some(middle) = bisect.middle() {
            bisect.narrow(middle, values[(middle - 7) as usize] <= wanted);
            steps += 1;
        }
        assert_eq!(bisect.found(), expected, "{wanted}");
        assert!(steps <= 3);
    }
    assert_eq!(Bisect::new(3, 0).middle(), None);
    assert_eq!(Bisect::new(3, 0).found(), None);
}

#[test]
fn native_by_sp_keeps_or_restores_fp() {
    let fake = Fake::new()
        .row(0x100, rule::SP, 4, 0)
        .row(0x200, rule::SP, 4, -2)
        .word(SP + 24, LIBRARY + 0x999)
        .word(SP + 16, 0xabc);
    let mut state = returned_to(LIBRARY + 0x150);
    let (frame, stop) = fake.step(&mut state);
    assert_eq!(stop, None);
    assert_eq!(frame, Frame { pc: LIBRARY + 0x150, aux: 9, kind: frame_kind::NATIVE, extra: 0 });
    assert_eq!((state.pc, state.sp, state.fp, state.return_address), (LIBRARY + 0x999, SP + 32, FP, 1));
    let mut state = returned_to(LIBRARY + 0x201);
    fake.step(&mut state);
    assert_eq!(state.fp, 0xabc);
}

#[test]
fn a_return_address_belongs_to_the_call_before_it() {
    let fake =
        Fake::new().row(0x100, rule::SP, 2, 0).row(0x200, rule::SP, 4, 0).word(SP + 8, 1).word(SP + 24, 2);
    let mut state = returned_to(LIBRARY + 0x200);
    fake.step(&mut state);
    assert_eq!(state.pc, 1);
    let mut state = State::exact(LIBRARY + 0x200, SP, FP);
    let (frame, _) = fake.step(&mut state);
    assert_eq!((state.pc, frame.extra), (2, 1));
}

#[test]
fn at_a_functions_entry_no_row_is_needed() {
    let fake = Fake::new().word(SP, LIBRARY + 0x999);
    let mut state = State::exact(LIBRARY + 0x150, SP, FP);
    let mut frame = Frame::ZERO;
    assert_eq!(step_entry(&mut state, &fake, &mut frame), None);
    let expected = Frame { pc: LIBRARY + 0x150, aux: 0, kind: frame_kind::NATIVE, extra: 1 };
    assert_eq!(frame, expected);
    assert_eq!((state.pc, state.sp, state.fp, state.return_address), (LIBRARY + 0x999, SP + 8, FP, 1));
    let mut state = State::exact(LIBRARY + 0x150, SP + 8, FP);
    assert_eq!(step_entry(&mut state, &fake, &mut frame), Some(Stop::ReadFault));
}

#[test]
fn native_by_fp_and_indirectly() {
    let fake = Fake::new()
        .row(0x100, rule::FP, 2, -2)
        .row(0x200, rule::FP_INDIRECT, 1, -1)
        .word(FP, 0xabc)
        .word(FP + 8, 0x123)
        .word(FP - 8, SP + 0x300)
        .word(SP + 0x2f8, 0x456);
    let mut state = returned_to(LIBRARY + 0x150);
    assert_eq!(fake.step(&mut state).1, None);
    assert_eq!((state.pc, state.sp, state.fp, state.return_address), (0x123, FP + 16, 0xabc, 1));
    let mut state = returned_to(LIBRARY + 0x250);
    assert_eq!(fake.step(&mut state).1, None);
    assert_eq!((state.pc, state.sp, state.fp, state.return_address), (0x456, SP + 0x300, 0xabc, 1));
}

#[test]
fn plt_has_pushed_from_its_second_instruction_on() {
    let fake = Fake::new().row(0x100, rule::PLT, 11, 0).word(SP, 1).word(SP + 8, 2).word(SP + 16, 3);
    let mut state = State::exact(LIBRARY + 0x106, SP, FP);
    fake.step(&mut state);
    assert_eq!((state.pc, state.sp), (1, SP + 8));
    let mut state = State::exact(LIBRARY + 0x10b, SP, FP);
    fake.step(&mut state);
    assert_eq!((state.pc, state.sp), (2, SP + 16));
}

#[test]
fn a_signal_trampoline_leads_to_the_interrupted_instruction() {
    let fake = Fake::new()
        .row(0x100, rule::SIGNAL, 0, 0)
        .word(SP + 40 + 80, 0xf0)
        .word(SP + 40 + 120, 0x1000)
        .word(SP + 40 + 128, LIBRARY + 5);
    let mut state = returned_to(LIBRARY + 0x101);
    assert_eq!(fake.step(&mut state).1, None);
    assert_eq!((state.pc, state.sp, state.fp, state.return_address), (LIBRARY + 5, 0x1000, 0xf0, 0));
}

#[test]
fn native_walks_end_by_name() {
    let fake = Fake::new()
        .row(0x100, rule::ROOT, 0, 0)
        .row(0x200, rule::GAP, 0, 0)
        .row(0x300, rule::UNSUPPORTED, 0, 0)
        .row(0x400, rule::SP, 2, 0)
        .row(0x500, rule::SP, 0, 0)
        .row(0x600, 99, 0, 0);
    let stop = |pc| fake.step(&mut returned_to(pc)).1;
    assert_eq!(stop(LIBRARY + 0x150), Some(Stop::Complete));
    assert_eq!(stop(LIBRARY + 0x250), Some(Stop::NoRow));
    assert_eq!(stop(LIBRARY + 0x50), Some(Stop::NoRow));
    assert_eq!(stop(LIBRARY + 0x350), Some(Stop::UnsupportedRule));
    assert_eq!(stop(LIBRARY + 0x450), Some(Stop::ReadFault));
    assert_eq!(stop(LIBRARY + 0x550), Some(Stop::BadFrame));
    assert_eq!(stop(LIBRARY + 0x650), Some(Stop::UnsupportedRule));
    assert_eq!(stop(0), Some(Stop::NoMapping));
    assert_eq!(Fake::new().step(&mut returned_to(LIBRARY + 1)).1, Some(Stop::NoRow));
}

#[test]
fn compiled_by_frame_size() {
    for name in [0x1111, 0x2222] {
        let (fake, blob) = Fake::new().nmethod(6, name);
        let fake = fake.word(SP + 32, 0xabc).word(SP + 40, JAVA);
        let mut state = returned_to(HEAP + (6 << 7) + 5);
        let (frame, stop) = fake.step(&mut state);
        assert_eq!(stop, None);
        let pc = HEAP + (6 << 7) + 5;
        assert_eq!(frame, Frame { pc, aux: blob, kind: frame_kind::COMPILED, extra: 77 });
        assert_eq!((state.pc, state.sp, state.fp, state.return_address), (JAVA, SP + 48, 0xabc, 1));
    }
}

#[test]
fn compiled_code_is_called_by_the_jvms_own_code() {
    let (fake, _) = Fake::new().nmethod(6, 0x1111);
    let fake = fake.word(SP + 32, 0xabc).word(SP + 40, LIBRARY);
    assert_eq!(fake.step(&mut returned_to(HEAP + (6 << 7))).1, Some(Stop::BadFrame));
}

#[test]
fn a_slow_path_of_compiled_code_has_more_below_its_frame() {
    let pc = HEAP + (6 << 7) + 5;
    let (mut fake, blob) = Fake::new().nmethod(6, 0x1111);
    fake.jvm.nmethod_comp_level = 0x50;
    // add rsp, 0x10; jmp
    fake = fake.word(blob + 0x50, 4).word(pc, 0x10c4_8348).word(pc + 4, 0xe9);
    fake = fake.word(SP + 32, 1).word(SP + 40, JAVA).word(SP + 48, 0xabc).word(SP + 56, JAVA + 9);
    let mut state = returned_to(pc);
    assert_eq!(fake.step(&mut state).1, None);
    assert_eq!((state.pc, state.sp, state.fp), (JAVA + 9, SP + 64, 0xabc));
    // Not if Java code was called: that is never done out of line.
    let mut state = State { way: 0, ..returned_to(pc) };
    assert_eq!(fake.step(&mut state).1, None);
    assert_eq!((state.pc, state.sp, state.fp), (JAVA, SP + 48, 1));
}

#[test]
fn the_wrapper_of_a_native_method_keeps_a_frame_link() {
    let pc = HEAP + (6 << 7) + 5;
    let (mut fake, blob) = Fake::new().nmethod(6, 0x2222);
    fake.jvm.nmethod_comp_level = 0x50;
    fake = fake.word(blob + 0x50, 0);
    fake = fake.word(SP + 32, 1).word(SP + 40, JAVA).word(SP + 64, 0xabc).word(SP + 72, JAVA + 9);
    for (fp, expected) in [(SP + 64, (JAVA + 9, SP + 80)), (SP + 32, (JAVA, SP + 48)), (5, (JAVA, SP + 48))] {
        let mut state = State { fp, ..returned_to(pc) };
        assert_eq!(fake.step(&mut state).1, None);
        assert_eq!((state.pc, state.sp), expected, "{fp:#x}");
    }
}

#[test]
fn past_a_continuation_a_stack_is_not_complete() {
    let fake = Fake::new().row(0x100, rule::ROOT, 0, 0).word(FP, 0xabc).word(FP + 8, LIBRARY + 0x150);
    let mut state = returned_to(HEAP + 0xA_0100);
    assert_eq!(fake.step(&mut state).1, None);
    assert_eq!(fake.step(&mut state).1, Some(Stop::VirtualThread));
}

#[test]
fn a_blob_that_is_no_nmethod_is_a_stub_with_a_frame() {
    let (fake, blob) = Fake::new().nmethod(2, 0x3333);
    let fake = fake.word(SP, 0xabc).word(SP + 8, JAVA);
    let mut state = returned_to(HEAP + (4 << 7) + 100);
    let (frame, stop) = fake.step(&mut state);
    assert_eq!(stop, None);
    assert_eq!((frame.kind, frame.aux, frame.extra), (frame_kind::STUB, blob, 0));
    assert_eq!((state.pc, state.sp, state.fp), (JAVA, SP + 16, 0xabc));
}

#[test]
fn a_deoptimized_frame_has_its_original_pc() {
    let handler = HEAP + (7 << 7);
    let (fake, blob) = Fake::new().nmethod(6, 0x1111);
    let mut fake = fake.word(SP + 32, 0).word(SP + 40, JAVA).word(SP + 0x18, blob + 0x90);
    let (frame, _) = fake.step(&mut returned_to(handler));
    assert_eq!((frame.pc, frame.kind), (blob + 0x90, frame_kind::COMPILED));

    // The same with handlers as offsets.
    fake.jvm.deopt_relative = 1;
    fake = fake.word(blob + 0x38, 0).word(blob + 0x40, handler - blob);
    let (frame, _) = fake.step(&mut returned_to(handler));
    assert_eq!(frame.pc, blob + 0x90);

    // A value that cannot be is not believed.
    fake = fake.word(SP + 0x18, handler + 1);
    let (frame, stop) = fake.step(&mut returned_to(handler));
    assert_eq!((frame.pc, stop), (handler, None));
}

#[test]
fn interpreted_around_fp() {
    let pc = HEAP + 0x8_1234;
    let fake = Fake::new()
        .word(FP - 24, 0x5000)
        .word(FP - 64, 0x6000)
        .word(FP - 56, 0x6666)
        .word(0x5008, 0x7000)
        .word(FP - 8, FP + 0x40)
        .word(FP, 0xabc)
        .word(FP + 8, JAVA);
    let mut state = returned_to(pc);
    let (frame, stop) = fake.step(&mut state);
    assert_eq!(stop, None);
    let expected = Frame { pc: 0x5000, aux: 0x6000, kind: frame_kind::INTERPRETED, extra: 0x7000 >> 3 };
    assert_eq!(frame, expected);
    assert_eq!((state.pc, state.sp, state.fp, state.return_address), (JAVA, FP + 0x40, 0xabc, 1));

    let mut fake = fake;
    fake.jvm.interpreter_bcp_below_fp = 56;
    assert_eq!(fake.step(&mut returned_to(pc)).0.aux, 0x6666);

    for fp in [SP - 72, SP + (2 << 20), 0] {
        let mut state = State { fp, ..returned_to(pc) };
        assert_eq!(fake.step(&mut state).1, Some(Stop::BadFrame), "{fp:#x}");
    }
    let mut state = State { sp: FP + 0x40, ..returned_to(pc) };
    assert_eq!(fake.step(&mut state).1, Some(Stop::BadFrame), "sp must grow");
}

#[test]
fn stubs_with_a_frame_link() {
    let (fake, blob) = Fake::new().nmethod(0, 0x3333);
    let fake = fake.word(FP, 0xabc).word(FP + 8, 0x123);
    let cases = [
        (HEAP + (4 << 7) + 100, frame_kind::STUB, blob),
        (HEAP + 0xA_0000, frame_kind::STUB, 0),
        (HEAP + 0xA_0100, frame_kind::CONTINUATION, 0),
    ];
    for (pc, kind, aux) in cases {
        let mut state = returned_to(pc);
        let (frame, stop) = fake.step(&mut state);
        assert_eq!(stop, None);
        assert_eq!((frame.pc, frame.kind, frame.aux), (pc, kind, aux));
        assert_eq!((state.pc, state.sp, state.fp), (0x123, FP + 16, 0xabc));
    }
}

#[test]
fn the_entry_barrier_has_its_return_address_above_a_cookie() {
    let (fake, blob) = Fake::new().nmethod(0, 0x3333);
    let fake = fake.word(FP, 0xabc).word(FP + 8, u64::MAX).word(FP + 16, 0x123);
    let mut state = returned_to(HEAP + (4 << 7) + 100);
    let (frame, stop) = fake.step(&mut state);
    assert_eq!((frame.kind, frame.aux, stop), (frame_kind::STUB, blob, None));
    assert_eq!((state.pc, state.sp, state.fp), (0x123, FP + 24, 0xabc));
}

#[test]
fn java_walks_end_by_name() {
    let (mut fake, _) = Fake::new().nmethod(6, 0x1111);
    let stop = |fake: &Fake, pc| fake.step(&mut returned_to(pc)).1;
    let inside = HEAP + (6 << 7);
    assert_eq!(stop(&fake, HEAP + (20 << 7)), Some(Stop::NoBlob), "a free segment");
    assert_eq!(stop(&fake, inside), Some(Stop::ReadFault), "no stack");
    assert_eq!(fake.step(&mut State::exact(inside, SP, FP)).1, Some(Stop::Interrupted), "not at a call");
    fake.words.insert(HEAP + (4 << 7) + 8, 0);
    assert_eq!(stop(&fake, inside), Some(Stop::NoBlob), "a block not in use");
    fake.segments[0..100].fill(1);
    assert_eq!(stop(&fake, HEAP + (90 << 7)), Some(Stop::Search));
    fake.jvm.heaps[2] = CodeHeap::ZERO;
    assert_eq!(stop(&fake, inside), Some(Stop::NoBlob), "in no heap");
}

#[test]
fn a_trampoline_is_replaced() {
    let mut fake = Fake::new().row(0x100, rule::SP, 1, 0).word(SP, 0x123);
    fake.trampoline = 0x7ff_f000;
    let (frame, stop) = fake.step(&mut returned_to(0x7ff_f000));
    assert_eq!((frame.pc, stop), (0x7ff_f000, Some(Stop::Trampoline)));
    fake.hidden_return = Some((SP - 8, LIBRARY + 0x140));
    let mut state = returned_to(0x7ff_f000);
    let (frame, stop) = fake.step(&mut state);
    assert_eq!((frame.pc, stop, state.pc), (LIBRARY + 0x140, None, 0x123));
}
