//! Stacks that cannot be walked to their end yet: through a library that was mapped a moment ago, or through code of a
//! JVM that does not describe itself yet.

use super::unwinder::Unwinder;
use crate::{ingest::event::Stack, process::mapping::Mapping};

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

    /// Finishes the stacks as far as their code is known by now, and gives them to `symbolize`. `may_wait`: code that
    /// is still not known may be that of the JVM that starts.
    pub(super) fn finish(
        &mut self,
        unwinder: &Unwinder,
        mappings: &[Mapping],
        may_wait: bool,
        symbolize: impl Fn(Stack),
    ) {
        for mut stack in self.unfinished.drain(..) {
            let may_wait = may_wait && self.awaiting_bytes < MAX_AWAITING_BYTES;
            self.completed_count += u64::from(unwinder.finish(&mut stack, mappings, may_wait));
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
