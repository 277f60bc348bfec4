//! The two names of a stack in a recording: its id while it is written, its place once it is read.
//!
//! Rows of what a stack has take either: `ThreadLive<StackId>` is written, `ThreadLive` is read. So an id is never used
//! as an index, and an index of one recording is never written into another.

use super::{Recording, Stack};

/// A stack of a recording that was read: its place in [`Recording::stacks`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StackRef(pub(super) u32);

impl Recording {
    /// The stack that a row refers to. `None` if the row is another recording's.
    pub fn stack(&self, stack: StackRef) -> Option<&Stack> {
        self.stacks.get(usize::try_from(stack.0).ok()?)
    }
}
