//! Source of bytes: the allocator or a mapping.

/// Source of bytes.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Source {
    /// Calls of the malloc family, and the sizes that they asked for.
    Allocator,
    /// Category of memory that was mapped and unmapped, with what the session knows of it beside its stack:
    /// `anonymous`, `file:/path`, `touched` (sampled page faults, not mappings), or the category itself
    /// (`thread-stack`, `java-heap`, ...).
    Mapping(String),
}

impl Source {
    /// Name in reports and recordings.
    pub const fn as_str(&self) -> &'static str {
        match self {
            Source::Allocator => "allocator",
            Source::Mapping(_) => "mapping",
        }
    }

    /// The kind of the mapping; empty for the allocator.
    pub fn kind(&self) -> &str {
        match self {
            Source::Allocator => "",
            Source::Mapping(kind) => kind,
        }
    }
}
