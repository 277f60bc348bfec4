//! Holders of native memory: from blocks of malloc to the Java fields that have their addresses, and to what holds
//! those.
//!
//! Takes a process, or a core file of one; gives [`Holders`]: groups of blocks by owner and path, findings, and how the
//! look was taken. A process is held only by ptrace, only as long as its heap takes to be copied, and only if that is
//! predicted to be within the limit; else several looks are taken without stopping it, which say less. Prints nothing:
//! the caller is told what happens by [`Notice`]s. Contents of objects are never given out.

mod blocks;
mod closure;
mod discover;
mod doubt;
mod finding;
mod group;
mod look;
mod prediction;
mod stopped;
mod tables;
mod take;
mod unstopped;
mod verdict;

use std::time::Duration;

pub use self::finding::Finding;
pub use self::group::{BlockGroup, BlockGroups, Group};
pub use self::look::{Image, of_image, of_process};
pub use self::prediction::Prediction;
pub use self::take::{HoldersResult, Subject, of_core, of_pid};
pub use self::verdict::{HolderState, Owner};
pub use crate::hotspot::heap::{Step, StepKind};

use crate::hotspot::heap::{HeapError, Quality};

/// The longest a process is held if nobody says otherwise.
pub const MAX_PAUSE: Duration = Duration::from_millis(500);

/// Options of a look.
#[derive(Clone, Debug)]
pub struct Options {
    /// A process is held no longer.
    pub max_pause: Duration,
    /// Is the process never to be held?
    pub no_stop: bool,
    /// Largest memory to use; `None` means half of what the host has available.
    pub max_memory_bytes: Option<u64>,
    /// Waits some seconds for a young collection where that makes the pause shorter.
    pub awaits_collection: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self { max_pause: MAX_PAUSE, no_stop: false, max_memory_bytes: None, awaits_collection: true }
    }
}

/// Step of a look that is about to happen, or has happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Notice {
    /// The process will be held for about so long.
    WillHold(Prediction),
    /// The process would be held for longer than is allowed, and is not.
    TooLong {
        prediction: Prediction,
        max_pause: Duration,
    },
    /// Told at the moment of which the answer is: while the process is held, or after the last look.
    Moment,
    Held {
        held: Duration,
    },
    /// Looks without stopping begin.
    WillLook {
        used_bytes: u64,
        memory_bytes: u64,
    },
}

/// Reason why there is no answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HoldersError {
    /// The heaps of such JVMs were never compared with the JVM's own collections.
    #[error("{0}")]
    NotProved(String),
    /// Neither the process nor the core file is one of a JVM.
    #[error("{0}")]
    NoJvm(String),
    /// Looking takes more memory than it may.
    #[error("{0}")]
    TooLarge(String),
    #[error("{kib} KiB of the Java heap are swapped out: reading them would bring them back into memory")]
    Swapped { kib: u64 },
    /// Anything else, in one sentence.
    #[error("{0}")]
    Refused(String),
    #[error("the time was up")]
    Late,
}

impl From<HeapError> for HoldersError {
    fn from(error: HeapError) -> Self {
        match error {
            HeapError::NotProved(why) => Self::NotProved(why),
            error => Self::Refused(error.to_string()),
        }
    }
}

/// Method of the look at the heap.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// Held by ptrace.
    Ptrace,
    /// No stop.
    None,
    /// A core file.
    Core,
}

impl Method {
    /// Name as it is written.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ptrace => "ptrace",
            Self::None => "none",
            Self::Core => "core",
        }
    }
}

/// Pause that the process had to bear.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pause {
    pub method: Method,
    /// `None` if it was not held.
    pub held: Option<Duration>,
    pub predicted: Option<Duration>,
    /// Looks that count.
    pub looks: u64,
}

/// Quality of what was read: how much of it made sense.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DataQuality {
    pub heap: Quality,
    /// Looks that had to be repeated.
    pub retries: u64,
    /// Places at which dead objects made no sense: what lies there may be missing among the garbage.
    pub bad_places: u64,
    pub consistent: bool,
}

/// Answer to the question who keeps what.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Holders {
    pub pause: Pause,
    pub quality: DataQuality,
    /// Groups with most bytes first.
    pub groups: Vec<Group>,
    /// Group of each block; none once groups were chosen.
    pub block_groups: BlockGroups,
    pub findings: Vec<Finding>,
    /// Used bytes of the Java heap.
    pub heap_bytes: u64,
    pub gc: &'static str,
    /// Figures that are not known, and why.
    pub unknown: Vec<(&'static str, String)>,
}

impl Holders {
    /// Keeps the groups whose owner is of this class, or that are held through it. `class` is its name, with or without
    /// packages.
    pub fn keep_class(&mut self, class: &str) {
        let is_it = |name: &str| {
            let before = name.strip_suffix(class);
            before.is_some_and(|before| before.is_empty() || before.ends_with(['.', '$']))
        };
        self.groups.retain(|group| {
            let owner = group.owner.as_ref().is_some_and(|owner| is_it(&owner.class));
            owner || group.path.iter().any(|step| step.class.as_deref().is_some_and(is_it))
        });
        self.block_groups = BlockGroups::default();
        self.findings = finding::of(&self.groups);
    }
}
