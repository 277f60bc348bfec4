//! Whole stacks: native frames by their files, Java frames by the JVM.

use tracer_common::unwind::{self, frame_kind};

use super::frame::{Frame, FrameKind, UnknownReason};
use super::native::Native;
use crate::target::Module;

/// Names for the stacks of one process. Cannot leave the thread in which it was made.
pub struct Symbolizer {
    native: Native,
}

impl Symbolizer {
    /// For process `pid`.
    pub fn new(pid: u32) -> Self {
        Self { native: Native::new(pid) }
    }

    /// Tells which modules are mapped now. Their files are opened here, so that names can be had
    /// after the target has unmapped them or has ended.
    pub fn set_modules(&mut self, modules: &[Module]) {
        self.native.set_modules(modules);
    }

    /// Names the frames of a stack, leaf first. One raw frame can become several: functions that
    /// were inlined come before those that they are in.
    pub fn stack(&mut self, frames: &[unwind::Frame]) -> Vec<Frame> {
        let mut named = Vec::with_capacity(frames.len());
        for frame in frames {
            match frame.kind {
                frame_kind::NATIVE => {
                    named.extend_from_slice(&self.native.frames(frame.pc, frame.extra == 1));
                }
                _ => named.push(without_jvm(frame)),
            }
        }
        named
    }
}

/// A frame of a JVM that is not understood.
fn without_jvm(frame: &unwind::Frame) -> Frame {
    match frame.kind {
        frame_kind::CONTINUATION => Frame::unknown(FrameKind::Stub, UnknownReason::Continuation),
        frame_kind::STUB => Frame::unknown(FrameKind::Stub, UnknownReason::UnsupportedJvm),
        _ => Frame::unknown(FrameKind::Java, UnknownReason::UnsupportedJvm),
    }
}
