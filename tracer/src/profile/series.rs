//! Course of the session: each row's bytes at moments that all rows share, with the collections between.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use serde::Serialize;

use crate::recording::{self, Recording};
use crate::verdict::{GroupVerdicts, Point};

/// Sites whose course is in JSON, for each source.
pub(super) const SITES: usize = 10;
/// Sites that are judged by themselves, and whose course is known, for each source: those that hold most. The other sites are
/// judged as a part of their line. As many rows by line have their course.
pub(super) const FOLLOWED: usize = 1_000;
/// Collections that are told; the full and the longest ones, where there are more.
const COLLECTIONS: usize = 1_000;

/// The courses of a profile. The recording keeps some 256 moments, however long the session is.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Series {
    /// Times since the session started; the first is 0.
    pub times_ns: Vec<u64>,
    /// RSS of the process, when it was looked at last; none: not yet.
    pub rss_bytes: Vec<Option<u64>>,
    /// Series of the allocator by category's id.
    pub categories: BTreeMap<String, RowSeries>,
    /// Series of mappings by category's id.
    pub mappings: BTreeMap<String, RowSeries>,
    pub gc: Vec<Pause>,
}

/// A row at each of the moments.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct RowSeries {
    pub live_bytes: Vec<u64>,
    pub allocated_bytes: Vec<u64>,
}

/// A garbage collection. Times are since the session started.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Pause {
    pub begin_ns: u64,
    /// `None` if its end was not seen.
    pub end_ns: Option<u64>,
    /// The whole heap, while the application stood still.
    pub full: bool,
}

impl RowSeries {
    pub(super) fn of(history: &[Point]) -> Self {
        Self {
            live_bytes: history.iter().map(Point::live_bytes).collect(),
            allocated_bytes: history.iter().map(|point| point.allocated_bytes).collect(),
        }
    }
}

impl Series {
    /// The moments and what the process and the collector did, without any row.
    pub(super) fn new(recording: &Recording, verdicts: &GroupVerdicts<'_>) -> Self {
        let times_ns = verdicts.times_ns().to_vec();
        let mut resident = recording.resident.iter().peekable();
        let mut now = None;
        let rss_bytes = times_ns.iter().map(|&time| {
            while let Some(sample) = resident.next_if(|sample| verdicts.since(sample.time_ns) <= time) {
                now = Some(sample.rss_bytes);
            }
            now
        });
        Self {
            rss_bytes: rss_bytes.collect(),
            gc: pauses(&recording.collections, verdicts),
            times_ns,
            ..Self::default()
        }
    }

    /// Adds the course of a category.
    pub(super) fn add(&mut self, id: &str, source: &str, course: RowSeries) {
        let rows = if source == "mapping" { &mut self.mappings } else { &mut self.categories };
        rows.insert(id.to_owned(), course);
    }
}

fn pauses(collections: &[recording::Collection], verdicts: &GroupVerdicts<'_>) -> Vec<Pause> {
    let pause = |collection: &recording::Collection| Pause {
        begin_ns: verdicts.since(collection.begin_ns),
        end_ns: collection.end_ns.map(|end| verdicts.since(end)),
        full: collection.full,
    };
    let mut pauses: Vec<Pause> = collections.iter().map(pause).collect();
    if pauses.len() > COLLECTIONS {
        let took = |pause: &Pause| pause.end_ns.map(|end| end.saturating_sub(pause.begin_ns));
        pauses.sort_by_key(|pause| Reverse((pause.full, took(pause))));
        pauses.truncate(COLLECTIONS);
        pauses.sort_by_key(|pause| pause.begin_ns);
    }
    pauses
}
