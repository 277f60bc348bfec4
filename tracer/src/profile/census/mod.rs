//! The censuses of a recording, and the facts by which two censuses are compared.

mod facts;

use std::collections::BTreeMap;

use serde::Serialize;

pub use self::facts::Fact;
use super::MemoryPart;
use crate::census::{Census, document};
use crate::recording::{CensusMoment, Recording};

/// The censuses of a recording.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Censuses {
    /// Census at the start of the session.
    pub begin: Option<Box<Census>>,
    pub end: Option<Box<Census>>,
    /// Reason why there is none, by moment.
    pub unknown: BTreeMap<&'static str, String>,
}

impl Censuses {
    /// Facts of a recording.
    pub(super) fn of(recording: &Recording) -> Self {
        let mut all = Self::default();
        for recorded in &recording.censuses {
            let census = match &recorded.census {
                Ok(census) => Some(census.clone()),
                Err(why) => {
                    all.unknown.insert(recorded.moment.as_str(), why.clone());
                    None
                }
            };
            match recorded.moment {
                CensusMoment::Begin => all.begin = census,
                CensusMoment::End => all.end = census,
            }
        }
        all
    }
}

/// The balance of a census, most resident first.
pub(super) fn parts(census: &Census) -> Vec<MemoryPart> {
    let part = |part: &document::MemoryPart| MemoryPart {
        id: part.id.clone(),
        name: part.name().to_owned(),
        reserved_bytes: part.reserved_bytes,
        committed_bytes: part.committed_bytes,
        resident_bytes: part.resident_bytes,
        swap_bytes: part.swap_bytes,
    };
    census.memory.parts.iter().map(part).collect()
}
