//! A JVM as text: what the reader says of it and of given frames. Made of a live JVM it is kept in an
//! image; made of the image it must be the same.

use std::fmt::Write;

use tracer::hotspot::{Hotspot, JavaFrame};
use tracer_common::unwind::Frame;

/// Takes a JVM and raw frames; gives lines.
pub(crate) fn snapshot(hotspot: &mut Hotspot, frames: &[Frame]) -> String {
    let mut text = String::new();
    let identity = (hotspot.version(), hotspot.vendor(), hotspot.gc(), hotspot.missing());
    writeln!(text, "jvm {identity:?}").expect("a string takes all");
    let jvm = hotspot.unwinder_config();
    let code = (jvm.code_low, jvm.code_high, jvm.interpreter_low, jvm.interpreter_high);
    let stubs = (jvm.call_stub_return, jvm.return_barrier);
    let heaps = (jvm.heaps, jvm.heap_count, jvm.log2_segment_bytes, jvm.heap_block_bytes, jvm.block_used);
    let nmethods = (jvm.blob_frame_size, jvm.nmethod_compile_id, jvm.nmethod_orig_pc_offset);
    let handlers = (jvm.nmethod_deopt_handler, jvm.nmethod_deopt_mh_handler, jvm.deopt_relative);
    let kinds = (jvm.blob_kind, jvm.kind_nmethod, jvm.name_nmethod, jvm.name_native_nmethod);
    let methods = (jvm.method_const_method, jvm.interpreter_bcp_below_fp);
    writeln!(text, "config {code:x?} {stubs:x?} {heaps:x?} {nmethods:?} {handlers:?} {kinds:x?} {methods:?}")
        .expect("a string takes all");
    for thread in hotspot.threads() {
        writeln!(text, "thread {} {:?}", thread.tid, thread.name).expect("a string takes all");
    }
    for nmethod in hotspot.nmethods() {
        let name = format!("{}.{}{}", nmethod.class, nmethod.method, nmethod.signature);
        let place = (nmethod.blob.address, nmethod.blob.size_bytes, nmethod.compile_id);
        writeln!(text, "nmethod {place:x?} {:?} {name}", nmethod.tier).expect("a string takes all");
    }
    for frame in frames {
        writeln!(text, "frame {} {} {} {}", frame.pc, frame.aux, frame.kind, frame.extra)
            .expect("a string takes all");
        for java in hotspot.resolve(frame).iter() {
            writeln!(text, "  {}", line(java)).expect("a string takes all");
        }
    }
    text
}

fn line(java: &JavaFrame) -> String {
    let place = (&java.file, java.line, java.bci, java.tier, java.native, java.stale);
    format!("{} {} {place:?}", java.function(), java.signature)
}

/// The raw frames of a snapshot.
pub(crate) fn frames(text: &str) -> Vec<Frame> {
    let frame = |line: &str| {
        let mut numbers =
            line.strip_prefix("frame ")?.split(' ').map(|number| number.parse().expect("a number"));
        let mut next = || numbers.next().expect("four numbers");
        let (pc, aux, kind, extra): (u64, u64, u64, u64) = (next(), next(), next(), next());
        Some(Frame { pc, aux, kind: kind as u32, extra: extra as u32 })
    };
    text.lines().filter_map(frame).collect()
}
