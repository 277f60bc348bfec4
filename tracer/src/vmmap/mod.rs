//! The annotated map: every mapping of a process with its owner, and how much of it is in memory.
//!
//! Takes a pid, its modules, and its JVM if it has one; gives parts. A part is a range with one owner:
//! a mapping can hold several (regions of the heap, the kernel merges neighbours), and then its resident
//! bytes are told apart by the page map. Nothing is dropped: what nobody owns is `unexplained`. Reads
//! only; the target is not stopped, so a map is what the kernel said line by line, not of one instant.

mod again;
mod allocator;
mod build;
mod divide;
mod named;
mod own_allocators;
mod owner;
mod smaps;
mod stacks;
mod take;

pub use self::again::counted_again;
pub use self::build::{Map, MapSource, Part, StackUse, read};
pub use self::owner::Owner;
pub use self::smaps::{Usage, parse_smaps};
pub use self::stacks::ThreadStack;
pub use self::take::{Taken, of_process};
