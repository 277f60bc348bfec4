//! A census rendered: as text, the findings first, and as JSON (`tracer.census/1`).

mod bounded;
mod json;
mod text;

pub use self::bounded::bounded;
pub use self::json::value;
pub use self::text::render;

/// Why there are more arenas than are shown.
const ARENAS_MISSING: &str =
    "one that follows in the ring makes no sense: damaged, or of a glibc that is not known";

/// Who a census is of.
#[derive(Clone, Debug, Default)]
pub struct Heading {
    pub pid: u32,
    pub comm: String,
    pub command: Vec<String>,
    pub container: Option<String>,
    pub java_home: Option<String>,
    /// The core file that it was taken of, instead of a process.
    pub core: Option<std::path::PathBuf>,
    /// Of its control group.
    pub limit_bytes: Option<u64>,
    /// How long it took.
    pub duration_ns: u64,
}
