//! The censuses of a recording, or of files of their own: documents of the schema `tracer.census/1`, what can be
//! compared of them, and what stands out.
//!
//! They come from files, so they may hold anything: what is missing, or not of its kind, is not known.

mod facts;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

pub use self::facts::Fact;
use super::MemoryPart;
use crate::census::NamePattern;
use crate::recording::{CensusMoment, Recording};
use crate::vmmap::Owner;

/// The schema of which a census must be.
const SCHEMA: &str = "tracer.census/1";

/// The censuses of a recording.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Censuses {
    /// What there was when the session started.
    pub begin: Option<Census>,
    pub end: Option<Census>,
    /// Why there is none, by moment.
    pub unknown: BTreeMap<&'static str, String>,
}

/// A census, as it was written.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(transparent)]
pub struct Census(Value);

/// Something that stands out.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Finding {
    pub kind: String,
    pub bytes: Option<u64>,
    /// In one sentence, with the numbers.
    pub evidence: String,
    /// The category that a recording has it in.
    pub category: Option<String>,
    pub advice: String,
}

impl Finding {
    /// Is it the same thing, whatever the numbers?
    pub fn is_of(&self, other: &Finding) -> bool {
        let pattern = |finding: &Finding| NamePattern::of(&finding.evidence.replace(',', ""));
        self.kind == other.kind && self.category == other.category && pattern(self) == pattern(other)
    }
}

impl Censuses {
    /// Those of a recording.
    pub(super) fn of(recording: &Recording) -> Self {
        let mut all = Self::default();
        for census in &recording.censuses {
            let read = census.json.clone().and_then(|text| Census::parse(&text));
            let read = read.map_err(|why| all.unknown.insert(census.moment.as_str(), why)).ok();
            match census.moment {
                CensusMoment::Begin => all.begin = read,
                CensusMoment::End => all.end = read,
            }
        }
        all
    }
}

impl Census {
    /// Takes a document.
    ///
    /// # Errors
    /// In a few words, why it is no census.
    pub fn parse(text: &str) -> Result<Self, String> {
        let value: Value = serde_json::from_str(text).map_err(|error| format!("not JSON: {error}"))?;
        match value.get("schema").and_then(Value::as_str) {
            Some(SCHEMA) => Ok(Self(value)),
            Some(schema) => Err(format!("its schema is {schema}, not {SCHEMA}")),
            None => Err(format!("its schema is not {SCHEMA}")),
        }
    }

    /// The number at a path (RFC 6901).
    pub fn number(&self, path: &str) -> Option<u64> {
        self.0.pointer(path)?.as_u64()
    }

    /// The text at a path.
    pub fn text(&self, path: &str) -> Option<&str> {
        self.0.pointer(path)?.as_str()
    }

    /// The rows of the list at a path. None: it is not known.
    fn rows(&self, path: &str) -> Option<&[Value]> {
        self.0.pointer(path)?.as_array().map(Vec::as_slice)
    }

    /// The command line of the process.
    pub fn command(&self) -> Vec<&str> {
        self.rows("/target/command").into_iter().flatten().filter_map(Value::as_str).collect()
    }

    /// What stands out, the largest first.
    pub fn findings(&self) -> Vec<Finding> {
        let rows = self.rows("/findings").into_iter().flatten();
        rows.filter_map(|row| Finding::deserialize(row).ok()).collect()
    }

    /// The balance, most resident first.
    pub fn parts(&self) -> Vec<MemoryPart> {
        let part = |row: &Value| {
            let id = row.get("id")?.as_str()?;
            let bytes = |key: &str| row.get(key).and_then(Value::as_u64);
            Some(MemoryPart {
                id: id.to_owned(),
                name: Owner::from_id(id).map_or(id, |owner| owner.name()).to_owned(),
                reserved_bytes: bytes("reserved_bytes"),
                committed_bytes: bytes("committed_bytes"),
                resident_bytes: bytes("resident_bytes"),
                swap_bytes: bytes("swap_bytes"),
            })
        };
        self.rows("/memory/parts").into_iter().flatten().filter_map(part).collect()
    }
}
