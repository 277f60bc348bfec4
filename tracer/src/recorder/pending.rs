//! Stacks that cannot be walked to their end yet: through a library that was mapped a moment ago, or through code of a
//! JVM that does not describe itself yet.

use crate::ingest::event::Stack;

/// Upper bound of the bytes of stacks that wait until the JVM is understood. Those that come later end where they are.
const MAX_AWAITING_BYTES: usize = 64 << 20;

/// See the module.
#[derive(Default)]
pub(super) struct PendingStacks {
    /// Their walk met code that was not known.
    unfinished: Vec<Stack>,
    /// Stacks that go through code of a JVM that is not understood yet.
    awaiting_jvm: Vec<Stack>,
    awaiting_bytes: usize,
    completed_count: u64,
}

impl PendingStacks {
    /// Takes in a stack whose walk was given up.
    pub(super) fn unfinished(&mut self, stack: Stack) {
        self.unfinished.push(stack);
    }

    /// Makes the stacks that wait for the JVM the next to be finished.
    pub(super) fn release_awaiting_jvm(&mut self) {
        self.unfinished.append(&mut self.awaiting_jvm);
        self.awaiting_bytes = 0;
    }

    /// Finishes the stacks by `walk` as far as their code is known by now, and gives them to `symbolize`. `may_wait`:
    /// code that is still not known may be that of the JVM that starts. `walk` is told whether its stack may wait, and
    /// gives whether it is complete.
    pub(super) fn finish(
        &mut self,
        may_wait: bool,
        walk: impl Fn(&mut Stack, bool) -> bool,
        symbolize: impl Fn(Stack),
    ) {
        for mut stack in self.unfinished.drain(..) {
            let may_wait = may_wait && self.awaiting_bytes < MAX_AWAITING_BYTES;
            self.completed_count += u64::from(walk(&mut stack, may_wait));
            match &stack.rest {
                Some(rest) => {
                    self.awaiting_bytes += rest.bytes.len();
                    self.awaiting_jvm.push(stack);
                }
                None => symbolize(stack),
            }
        }
    }

    /// Number of stacks that were given up by the kernel and are complete now.
    pub(super) fn completed_count(&self) -> u64 {
        self.completed_count
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use tracer_common::{stack::StackId, unwind::Stop, walk::State};

    use super::*;
    use crate::ingest::event::UnwindCheckpoint;

    #[test]
    fn stacks_of_64_mib_wait_and_are_finished_in_the_end() {
        let stack = |id, byte_count| Stack {
            id: StackId(id),
            frames: Vec::new(),
            stop: Stop::NoMapping as u32,
            last_pc: 0,
            rest: Some(Box::new(UnwindCheckpoint {
                state: State::exact(1, 2, 3),
                bytes: vec![0; byte_count],
            })),
        };
        let mut pending = PendingStacks::default();
        for (id, byte_count) in [(100, (64 << 20) - 1), (101, 2), (102, 2)] {
            pending.unfinished(stack(id, byte_count));
        }
        let given = RefCell::new(Vec::new());
        // The code is not known: a stack that may not wait ends where it is.
        let unknown = |stack: &mut Stack, may_wait: bool| {
            stack.rest = stack.rest.take().filter(|_| may_wait);
            false
        };
        pending.finish(true, unknown, |stack| given.borrow_mut().push(stack.id.0));
        assert_eq!(*given.borrow(), [102]);
        pending.release_awaiting_jvm();
        let known = |stack: &mut Stack, _| stack.rest.take().is_some();
        pending.finish(false, known, |stack| given.borrow_mut().push(stack.id.0));
        assert_eq!((&given.borrow()[..], pending.completed_count()), (&[102, 100, 101][..], 2));
    }
}
