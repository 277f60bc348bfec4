//! Walks that the kernel could not finish: it met a module that nobody had told it of yet.
//!
//! Takes the walk's registers and a copy of its stack, made in the moment; the tables, which know the
//! module by now; and the live process for the JVM's own structures. The stack itself is never read
//! from the live process, where it is another one by now: past the copy, a walk ends.

use std::io;

use tracer_common::config::Jvm;
use tracer_common::unwind::{Frame, Stop};
use tracer_common::walk::State;

use super::modules::ModuleTables;
use super::walker::{Stack, Walker};
use crate::process::mapping::Mapping;
use crate::process::memory::ProcessMemory;

/// Goes on from `state` with `saved`, what the stack held from `state.sp` on. `mappings` are the
/// process's. `None` if there is nothing to be gained.
pub fn resume(
    state: State,
    saved: &[u8],
    mappings: &[Mapping],
    tables: &ModuleTables,
    jvm: Jvm,
    live: &impl ProcessMemory,
) -> Option<Stack> {
    let stack = mappings.iter().find(|mapping| (mapping.start..mapping.end).contains(&state.sp))?;
    let stack = stack.start..stack.end;
    let memory = Saved { saved_start: state.sp, saved, stack: stack.clone(), live };
    let mut walked = Walker::new(&memory, tables, jvm).walk_within(state, stack);
    match walked.stop {
        Stop::NoMapping if walked.frames.len() <= 1 => return None,
        // The copy ends, not the stack.
        Stop::ReadFault => walked.stop = Stop::Truncated,
        _ => {}
    }
    Some(walked)
}

/// Joins the frames of a walk with those that [`resume`] found: its last one is the first of these.
pub fn join(frames: &mut Vec<Frame>, rest: Vec<Frame>) {
    frames.pop();
    frames.extend(rest);
    frames.truncate(tracer_common::unwind::MAX_FRAMES);
}

/// The live process, but for one thread's stack, of which there is only a copy of a part.
struct Saved<'a, M> {
    saved_start: u64,
    saved: &'a [u8],
    stack: std::ops::Range<u64>,
    live: &'a M,
}

impl<M: ProcessMemory> ProcessMemory for Saved<'_, M> {
    fn read(&self, address: u64, buffer: &mut [u8]) -> io::Result<()> {
        if !self.stack.contains(&address) {
            return self.live.read(address, buffer);
        }
        let missing = || io::Error::new(io::ErrorKind::UnexpectedEof, "not in the copy of the stack");
        let offset = address.checked_sub(self.saved_start).and_then(|offset| usize::try_from(offset).ok());
        let offset = offset.ok_or_else(missing)?;
        let end = offset.checked_add(buffer.len()).ok_or_else(missing)?;
        buffer.copy_from_slice(self.saved.get(offset..end).ok_or_else(missing)?);
        Ok(())
    }
}
