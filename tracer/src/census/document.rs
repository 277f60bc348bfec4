//! A census as a document: the schema `tracer.census/1`, which `tracer census` prints, every recording keeps and
//! every later version reads.
//!
//! Owns the types whose fields are the schema's keys. `take` fills them, within the bounds below; everything
//! after that reads fields. A value that is not known is `None`, and `unknown` has the reason by its key; zero means
//! zero. Keys that a later version added have defaults, so that older documents are read. Nothing is rendered here.

mod bounds;
mod contents;
mod memory;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

pub(super) use self::bounds::{Bounds, MAX_ROWS, text};
pub use self::contents::{
    Arena, ArenaChunks, ChunkLength, CodeCache, CodeHeap, CodeMethod, CodeTier, CompileQueue, Contents,
    DirectBuffers, Generated, Group, HeapSpace, JavaHeap, Jni, Library, LoaderTotals, LoaderType, Malloc,
    NativeMemoryTracking, OpenSsl, SizeClass, Sum, Symbols, Threads, TrackedCategory, Zlib, ZlibGroup, Zstd,
};
pub use self::memory::{Memory, MemoryPart};
use super::groups::NamePattern;
use crate::limits::{Fits, Limit};
use crate::process::Pid;

/// The schema's name. It rises only when a reader of the old one would misread a document.
pub const SCHEMA: &str = "tracer.census/1";
/// Largest number that a document may have: more than any address space has bytes, and small enough to be added up.
const MAX_NUMBER: u64 = 1 << 56;

/// Holders of a process's native memory at one moment.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Census {
    pub schema: String,
    #[serde(default)]
    pub target: Subject,
    #[serde(default)]
    pub taken: Taken,
    #[serde(default)]
    pub memory: Memory,
    /// The limits that it can meet. `None` for a core file, which does not tell, and for an earlier version, which did
    /// not ask.
    #[serde(default)]
    pub limits: Option<Vec<Limit>>,
    /// Whether the Java heap's maximum and everything else fit the memory limit. `None` without a JVM or a limit.
    #[serde(default)]
    pub fits: Option<Fits>,
    /// Findings, the most important first.
    #[serde(default)]
    pub findings: Vec<Finding>,
    #[serde(default)]
    pub census: Contents,
    /// Reason why a value is not known, by its key: `malloc`, `malloc.arenas`.
    #[serde(default)]
    pub unknown: BTreeMap<String, String>,
    /// The whole length of each list that was cut, by its path (RFC 6901).
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub cut: BTreeMap<String, u64>,
}

/// Process whose memory it is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Subject {
    pub pid: Pid,
    pub comm: String,
    #[serde(default)]
    pub command: Vec<String>,
    #[serde(default)]
    pub container: Option<String>,
    /// `None` without a JVM, or with one whose structures could not be read (`unknown` says so then).
    #[serde(default)]
    pub jvm: Option<JvmVersion>,
}

/// Version of the JVM.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct JvmVersion {
    pub version: String,
    #[serde(default)]
    pub vendor: Option<String>,
    #[serde(default)]
    pub gc: Option<String>,
    #[serde(default)]
    pub java_home: Option<String>,
}

/// Method and circumstances of a census.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Taken {
    #[serde(default)]
    pub duration_ns: u64,
    /// The core file that was read. `None` for a live process.
    #[serde(default)]
    pub core: Option<String>,
}

/// Finding: something that stands out.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    /// `zlib`, `direct-buffer`, `malloc-free`, ...
    pub kind: String,
    /// Bytes that it holds, as far as they are known.
    #[serde(default)]
    pub bytes: Option<u64>,
    /// Evidence in one sentence, with the numbers.
    #[serde(default)]
    pub evidence: String,
    /// The category in which a recording has it, if there is one.
    #[serde(default)]
    pub category: Option<String>,
    /// Advice.
    #[serde(default)]
    pub advice: String,
}

impl Finding {
    /// Tells whether both are about the same thing, whatever the numbers are.
    pub fn is_of(&self, other: &Finding) -> bool {
        let pattern = |finding: &Finding| NamePattern::of(&finding.evidence.replace(',', ""));
        self.kind == other.kind && self.category == other.category && pattern(self) == pattern(other)
    }
}

impl Census {
    /// Reads a document, which may come from anywhere.
    ///
    /// # Errors
    /// The reason, in a few words: it is not JSON, of another schema, or has values that cannot be.
    pub fn parse(text: &str) -> Result<Self, String> {
        let value: serde_json::Value =
            serde_json::from_str(text).map_err(|error| format!("not JSON: {error}"))?;
        match value.get("schema").and_then(serde_json::Value::as_str) {
            Some(SCHEMA) => {}
            Some(schema) => return Err(format!("its schema is {schema}, not {SCHEMA}")),
            None => return Err(format!("its schema is not {SCHEMA}")),
        }
        if let Some(number) = bounds::number_above(&value, MAX_NUMBER) {
            return Err(format!("it has a number that cannot be: {number}"));
        }
        let mut census: Self =
            serde_json::from_value(value).map_err(|error| format!("it is damaged: {error}"))?;
        if census.limits.is_none() {
            let why = || "the census is of a version that did not ask for them".to_owned();
            census.unknown.entry("limits".to_owned()).or_insert_with(why);
        }
        Ok(census)
    }

    /// The whole length of a list of which `kept` rows are here.
    pub fn length(&self, path: &str, kept: usize) -> u64 {
        self.cut.get(path).copied().unwrap_or(kept as u64)
    }

    /// The document in one line.
    pub fn to_json(&self) -> String {
        // Maps have strings for keys, and nothing else can fail.
        serde_json::to_string(self).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_document_is_read_as_it_was_written() {
        let mut census = Census { schema: SCHEMA.to_owned(), ..Census::default() };
        census.census.zlib = Some(Zlib { inflate: Sum { count: 3, bytes: 120_120 }, ..Zlib::default() });
        census.unknown.insert("malloc".to_owned(), "another allocator".to_owned());
        census.cut.insert("/census/libraries".to_owned(), 300);
        census.limits = Some(vec![Limit { id: "swap".to_owned(), ..Limit::default() }]);
        assert_eq!(Census::parse(&census.to_json()), Ok(census));
    }

    #[test]
    fn a_document_that_says_little_is_read() {
        let census = Census::parse(r#"{"schema": "tracer.census/1", "later": [1]}"#).expect("a census");
        assert_eq!((census.census.malloc, census.findings.len()), (None, 0));
    }

    #[test]
    fn what_cannot_be_is_refused_with_the_reason() {
        for (text, why) in [
            ("[1", "not JSON: "),
            ("[1]", "its schema is not tracer.census/1"),
            (r#"{"schema": "tracer.report/1"}"#, "its schema is tracer.report/1, not tracer.census/1"),
            (r#"{"schema": "tracer.census/1", "census": 7}"#, "it is damaged: invalid type: integer `7`"),
            (r#"{"schema": "tracer.census/1", "findings": [{"kind": "x", "bytes": -1}]}"#, "it is damaged: "),
            (
                r#"{"schema": "tracer.census/1", "memory": {"rss_bytes": 18446744073709551615}}"#,
                "it has a number that cannot be: 18446744073709551615",
            ),
        ] {
            let error = Census::parse(text).expect_err(text);
            assert!(error.starts_with(why), "{text}: {error}");
        }
    }
}
