//! Whole stacks: native frames by their files, Java frames by the JVM.

use tracer_common::unwind::{self, frame_kind};

use super::frame::Frame;
use super::java;
use super::native::Native;
use crate::hotspot::Hotspot;
use crate::ingest::event::Nmethod;
use crate::target::Module;

/// Names for the stacks of one process. Cannot leave the thread in which it was made.
pub struct Symbolizer {
    native: Native,
    jvm: Option<Hotspot>,
}

impl Symbolizer {
    /// For process `pid`.
    pub fn new(pid: u32) -> Self {
        Self { native: Native::new(pid), jvm: None }
    }

    /// Tells which modules are mapped now. Their files are opened here, so that names can be had
    /// after the target has unmapped them or has ended.
    pub fn set_modules(&mut self, modules: Vec<Module>) {
        self.native.set_modules(&modules);
    }

    /// Tells of the target's JVM. Without one, Java frames have no names.
    pub fn set_jvm(&mut self, jvm: Hotspot) {
        self.jvm = Some(jvm);
    }

    /// The JVM installed code: its name is read now, for frames that are seen after it is gone.
    pub fn nmethod_loaded(&mut self, nmethod: Nmethod) {
        if let Some(jvm) = &mut self.jvm {
            jvm.nmethod_loaded(nmethod.code);
        }
    }

    /// Names the frames of a stack, leaf first. One raw frame can become several: functions that
    /// were inlined come before those that they are in.
    pub fn stack(&mut self, frames: &[unwind::Frame]) -> Vec<Frame> {
        let mut named = Vec::with_capacity(frames.len());
        for frame in frames {
            match (frame.kind, &mut self.jvm) {
                (frame_kind::NATIVE, _) => {
                    named.extend_from_slice(&self.native.frames(frame.pc, frame.extra == 1));
                }
                (_, Some(jvm)) => named.extend(jvm.resolve(frame).iter().flat_map(java::frames)),
                (_, None) => named.push(java::without_jvm(frame)),
            }
        }
        named
    }
}

#[cfg(test)]
mod tests;
