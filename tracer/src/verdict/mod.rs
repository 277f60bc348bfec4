//! The verdicts of a recording: what the growth of a group of its rows means, with the evidence in numbers.
//!
//! Takes a recording, the nature of each category, and groups of the recording's rows; gives each group its history,
//! its growth, and one [`VerdictKind`] with a sentence and an advice. Pure; knows no profile and no output.

mod advice;
mod allocator_retention;
mod births;
mod class_definers;
mod classify;
pub(crate) mod clauses;
mod collected;
mod groups;
mod growth;
mod history;
mod metaspace;
mod queue;
mod reachability;
pub(crate) mod sentence;
mod shape;
#[cfg(test)]
mod tests;
mod thread_cohort;
mod timing;
mod trend;

use serde::Serialize;

use advice::CommandPid;
pub use allocator_retention::AllocatorRetention;
pub use class_definers::{ClassChurn, ClassWork, Generator, asks};
pub use clauses::Sentence;
pub use groups::GroupVerdicts;
pub use history::{GroupId, Point, RowGroups};
pub use sentence::{Figure, Figures};
pub(crate) use trend::Trend;

/// Meaning of a row's course. Exactly one holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum VerdictKind {
    /// Outstanding bytes grow, through collections where those could free them.
    Leak,
    /// The bytes fall when a collection runs, or nobody can tell because none ran.
    GcPending,
    /// The bytes rose, and then stayed.
    Pool,
    /// The bytes fell to where they came from after a burst.
    Transient,
    /// Live bytes fell, and the allocator keeps what they took.
    Retention,
    /// Steady memory: nothing grows.
    Steady,
    /// The row was not watched for long enough.
    TooShort,
}

impl VerdictKind {
    /// Name in reports.
    pub const fn as_str(self) -> &'static str {
        match self {
            VerdictKind::Leak => "leak",
            VerdictKind::GcPending => "gc-pending",
            VerdictKind::Pool => "pool",
            VerdictKind::Transient => "transient",
            VerdictKind::Retention => "retention",
            VerdictKind::Steady => "steady",
            VerdictKind::TooShort => "too-short",
        }
    }

    /// Must somebody do something about it?
    pub const fn is_finding(self) -> bool {
        matches!(self, VerdictKind::Leak | VerdictKind::GcPending | VerdictKind::Retention)
    }
}

/// The ground on which a verdict stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Proof {
    /// The objects that hold it were found, from a root.
    Reachability,
    /// Collections freed it, or had the chance and did not.
    Collection,
    /// Growth in the time that the group was watched.
    Course,
    /// No proof: it cannot be told, or not yet.
    None,
}

/// Cause of the growth of memory that the JVM keeps for classes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ClassGrowth {
    /// Class loaders are made and stay, or classes are generated over and over, and this is of them.
    Churn,
    /// Classes are loaded, as when an application starts.
    Loading,
    /// Hardly a class is defined: interned strings, or something else that the program asks for.
    Other,
    /// Classes that are there already are defined anew: their loaders live.
    Redefinition,
}

/// The meaning of a row's course.
#[derive(Clone, Debug, Serialize)]
pub struct Verdict {
    pub kind: VerdictKind,
    pub proof: Proof,
    /// Evidence in one sentence, with numbers.
    pub evidence: Sentence,
    /// Advice for an engineer.
    pub advice: String,
    /// The numbers of the sentence, by name.
    pub figures: Figures,
}
