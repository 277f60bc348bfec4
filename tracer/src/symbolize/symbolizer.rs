//! Symbolizer of whole stacks: native frames by their files, Java frames by the JVM.

use tracer_common::unwind::{self, frame_kind};

use super::frame::Frame;
use super::java;
use super::native::Native;
use crate::hotspot::Hotspot;
use crate::ingest::event::Nmethod;
use crate::process::{Module, Pid};

/// Compiled methods copied before anything else gets its turn: some milliseconds.
const COPIED_AT_ONCE: usize = 16;

/// Names for the stacks of one process. Cannot leave the thread in which it was made.
pub struct Symbolizer {
    native: Native,
    jvm: Option<Hotspot>,
    /// Compiled methods that were there before, to be copied when there is nothing better to do.
    to_copy: Vec<u64>,
}

impl Symbolizer {
    /// A symbolizer for process `pid`.
    pub fn new(pid: Pid) -> Self {
        Self { native: Native::new(pid), jvm: None, to_copy: Vec::new() }
    }

    /// Tells which modules are mapped now. Their files are opened here, so that names can be had
    /// after the target has unmapped them or has ended.
    pub fn set_modules(&mut self, modules: Vec<Module>) {
        self.native.set_modules(&modules);
    }

    /// Tells of the target's JVM. Without one, Java frames have no names.
    pub fn set_jvm(&mut self, mut jvm: Hotspot) {
        self.to_copy = jvm.nmethod_addresses();
        self.jvm = Some(jvm);
    }

    /// Does a little of what can wait: copying code that the JVM had compiled before, for frames that
    /// are seen after it is gone. Returns true if there is more to do.
    pub fn prepare(&mut self) -> bool {
        for _ in 0..COPIED_AT_ONCE {
            let (Some(jvm), Some(address)) = (&mut self.jvm, self.to_copy.pop()) else { return false };
            jvm.copy_nmethod(address);
        }
        !self.to_copy.is_empty()
    }

    /// The JVM installed code: it is copied now, for frames that are seen after it is gone.
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
                (_, Some(jvm)) => {
                    let mut module_of = |address| self.native.module_of(address);
                    for java in jvm.resolve(frame).iter() {
                        named.extend(java::frames(java, &mut module_of));
                    }
                }
                (_, None) => named.push(java::without_jvm(frame)),
            }
        }
        named
    }
}

#[cfg(test)]
mod tests;
