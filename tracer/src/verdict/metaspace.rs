//! The history of metaspace. The JVM reserves it ahead and commits piece by piece, which maps nothing new: its
//! committed size was read from the JVM's own statistics whenever the memory was looked at.

use super::history::Point;
use crate::recording::{MemorySample, Recording};

/// The parts of the memory that are metaspace.
const PARTS: [&str; 2] = ["metaspace", "class-space"];
/// Number of looks below which a course is no more than chance.
const LOOKS_MIN: usize = 4;

/// Bytes committed and given back since the session's first look. `None` if it was looked at too seldom.
pub(super) fn history(recording: &Recording, started_ns: u64) -> Option<Vec<Point>> {
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
        point.allocated_bytes = point.allocated_bytes.saturating_add(bytes.saturating_sub(before));
        point.freed_bytes = point.freed_bytes.saturating_add(before.saturating_sub(bytes));
        points.push(Point { time_ns: if points.is_empty() { 0 } else { time_ns }, ..point });
    }
    (points.len() >= LOOKS_MIN).then_some(points)
}
