//! Events: what the ring buffer's records say, typed.

use tracer_common::{
    record::{AllocationRecord, MappingRecord},
    stack::StackId,
    unwind::{Frame, Stop},
    walk::State,
};

use crate::process::{InnerTid, Tid};

/// One event. Times are `CLOCK_MONOTONIC`, ns; thread ids those of the initial pid namespace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    pub time_ns: u64,
    /// The thread in which it happened.
    pub tid: Tid,
    /// Collections that had ended in the session.
    pub gc_epoch: u32,
    pub kind: EventKind,
}

/// The kind of an event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EventKind {
    /// A stack seen for the first time.
    Stack(Stack),
    /// A mapping system call that succeeded.
    Mapping(MappingRecord),
    /// The thread created another.
    ThreadStarted {
        tid: Tid,
        comm: String,
        stack: Option<StackId>,
    },
    /// A thread ended.
    ThreadExited {
        tid: Tid,
        comm: String,
    },
    /// The target became another program.
    Exec {
        comm: String,
    },
    /// `full`: the whole heap is collected while the application stands still. Other collections look at
    /// a part of it, or work beside the application.
    GcBegan {
        full: bool,
    },
    GcEnded,
    /// The JVM installed compiled code.
    NmethodLoaded(Nmethod),
    /// The JVM dropped compiled code; it does not say at which address.
    NmethodUnloaded(Nmethod),
    /// A Java thread began to run. The thread id is the JVM's own.
    JavaThreadStarted {
        os_tid: InnerTid,
        name: String,
    },
    JavaThreadStopped {
        os_tid: InnerTid,
        name: String,
    },
    /// A page fault that wrote, of those that are sampled: it was taken with a chance of one in 2^`log2_weight`.
    FirstTouch {
        address: u64,
        stack: StackId,
        log2_weight: u32,
    },
    /// The target was stopped: a walk met code that is not known yet, or it is about to end.
    Stopped {
        is_exiting: bool,
    },
    /// An allocation, with `--events`.
    Allocated(AllocationRecord),
    /// A free, with `--events`.
    Freed(AllocationRecord),
}

/// A stack as the kernel walked it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stack {
    pub id: StackId,
    /// Leaf first.
    pub frames: Vec<Frame>,
    /// A number of [`Stop`].
    pub stop: u32,
    /// Registers at which the walk ended.
    pub last_pc: u64,
    /// The checkpoint from which the walk can go on, if it ended at a module that was not known yet.
    pub rest: Option<Box<UnwindCheckpoint>>,
}

/// Point at which a walk can be taken up again: the last frame, which is to be replaced.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnwindCheckpoint {
    pub state: State,
    /// The stack's bytes, from `state.sp` on.
    pub bytes: Vec<u8>,
}

impl Stack {
    /// Did the walk reach the thread's entry?
    pub fn is_complete(&self) -> bool {
        self.stop == Stop::Complete as u32
    }
}

/// Compiled code, as a load or unload event names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Nmethod {
    /// Address of its first instruction; 0 in an unload.
    pub code: u64,
    pub size_bytes: u64,
    /// Class with `/` between packages.
    pub class: String,
    pub method: String,
    pub signature: String,
}

/// A stream of events, in the order in which they happened on each CPU.
pub trait EventSource {
    /// The next event that is there already; `None`: none is, for now.
    fn next(&mut self) -> Option<Result<Event, DecodeError>>;
}

/// A record that is not of its form. It is dropped; those after it are not affected.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    #[error("a record of {0} bytes is too short")]
    TooShort(usize),
    #[error("a record of unknown kind {0}")]
    UnknownKind(u32),
}
