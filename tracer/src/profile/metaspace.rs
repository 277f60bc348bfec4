//! The course of metaspace. The JVM reserves it ahead and commits piece by piece, which maps nothing new: how much it
//! is was read from the JVM's own books whenever the memory was looked at.

use super::growth::Point;
use super::judge::Judge;
use super::verdict::trend::Trend;
use super::{Category, Kind, Totals};
use crate::attribute::Rules;
use crate::recording::{MemorySample, Recording};

/// The parts of the memory that are metaspace.
const PARTS: [&str; 2] = ["metaspace", "class-space"];
/// With fewer looks a course is no more than chance.
const LOOKS_MIN: usize = 4;

/// Judges metaspace by what is committed of it; a category of its own if it is a finding and nothing of it was mapped
/// in the session.
pub(super) fn judge(categories: &mut Vec<Category>, recording: &Recording, rules: &Rules, judge: &Judge<'_>) {
    let history = history(recording, judge.started_ns());
    if history.len() < LOOKS_MIN {
        return;
    }
    let id = "metaspace";
    let verdict = judge.verdict_of(&history, &[], 0, "", (id, None));
    let seconds = |point: &Point| (point.time_ns as f64 / 1e9, point.live_bytes() as f64);
    let trend = Trend::of(&history.iter().map(seconds).collect::<Vec<_>>());
    let growth = trend.map(|trend| trend.slope.round() as i64);
    let of_mappings = |row: &&mut Category| row.id == id && row.source == "mapping";
    if let Some(row) = categories.iter_mut().find(of_mappings) {
        (row.growth_bytes_per_s, row.verdict) = (growth, Some(verdict));
    } else if verdict.kind.is_finding() || verdict.kind == Kind::TooShort {
        categories.push(Category {
            id: id.to_owned(),
            name: rules.category_name(id),
            source: "mapping",
            totals: Totals::default(),
            resident_bytes: None,
            owners: Vec::new(),
            growth_bytes_per_s: growth,
            verdict: Some(verdict),
        });
    }
}

/// What was committed and given back since the session's first look.
fn history(recording: &Recording, started_ns: u64) -> Vec<Point> {
    let is_part = |sample: &&MemorySample| PARTS.contains(&sample.id.as_str());
    let samples: Vec<&MemorySample> = recording.memory_series.iter().filter(is_part).collect();
    let mut points: Vec<Point> = Vec::new();
    let mut last_bytes = None;
    for look in samples.chunk_by(|one, other| one.time_ns == other.time_ns) {
        let Some(time_ns) = look.first().map(|sample| sample.time_ns.saturating_sub(started_ns)) else {
            continue;
        };
        let bytes: u64 = look.iter().map(|sample| sample.committed_bytes).sum();
        let mut point = points.last().copied().unwrap_or_default();
        let before = last_bytes.replace(bytes).unwrap_or(bytes);
        point.allocated_bytes += bytes.saturating_sub(before);
        point.freed_bytes += before.saturating_sub(bytes);
        points.push(Point { time_ns: if points.is_empty() { 0 } else { time_ns }, ..point });
    }
    points
}
