//! Answers about the streams that the workload keeps, against the truth.

use anyhow::{Context, Result};
use serde::Serialize;
use tracer_common::zlib;

use crate::tracer_record::Recording;

/// Blocks that the workload keeps while it is watched.
pub(super) const INFLATERS: u64 = 31;
pub(super) const DEFLATERS: u64 = 17;

/// Count and bytes that are held of a kind.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize)]
pub(super) struct Held {
    /// Streams, or blocks of malloc.
    pub(super) count: u64,
    pub(super) bytes: u64,
}

/// Truth that `Streams.keep` holds.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub(super) struct Answer {
    pub(super) inflaters: Held,
    pub(super) deflaters: Held,
}

impl Answer {
    /// The truth by zlib's own formulas. Each inflater was used, and has a window.
    pub(super) fn truth() -> Self {
        let window = 1 << zlib::DEFAULT_WINDOW_BITS;
        let deflater = zlib::deflate_bytes(zlib::DEFAULT_WINDOW_BITS as i32, zlib::DEFAULT_MEMORY_LEVEL);
        Self {
            inflaters: Held { count: INFLATERS, bytes: INFLATERS * (zlib::INFLATE_BYTES + window) },
            deflaters: Held { count: DEFLATERS, bytes: DEFLATERS * deflater },
        }
    }

    /// Are these just the streams, each in the same number of blocks, and their bytes? The JDK's `z_stream` of 112
    /// bytes for each is told or not.
    pub(super) fn is_right(&self) -> bool {
        let truth = Self::truth();
        [(self.inflaters, truth.inflaters), (self.deflaters, truth.deflaters)].iter().all(|(told, truth)| {
            told.count > 0
                && told.count % truth.count == 0
                && (truth.bytes..=truth.bytes + 112 * truth.count).contains(&told.bytes)
        })
    }
}

/// Answer of a recording.
pub(super) fn of_recording(recording: &Recording) -> Result<Answer> {
    let report = recording.report()?;
    let mut answer = Answer::default();
    for site in report["sites"].as_array().context("a report without sites")? {
        let frames: Vec<&str> = site["frames"]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(|frame| frame["function"].as_str())
            .collect();
        if site["source"] != "allocator" || !frames.contains(&"Streams.keep") {
            continue;
        }
        let through = |class| frames.iter().any(|function| function.starts_with(class));
        let held = match () {
            () if through("java.util.zip.Inflater.") => &mut answer.inflaters,
            () if through("java.util.zip.Deflater.") => &mut answer.deflaters,
            () => continue,
        };
        held.count += site["live_count"].as_u64().unwrap_or_default();
        held.bytes += site["live_bytes"].as_u64().unwrap_or_default();
    }
    Ok(answer)
}

/// Answer of `HeldBlocks`.
pub(super) fn of_profile(lines: &str) -> Result<Answer> {
    let mut held = lines.lines().map(|line| {
        let (count, bytes) = line.split_once(' ')?;
        Some(Held { count: count.parse().ok()?, bytes: bytes.parse().ok()? })
    });
    let mut next = || held.next().flatten().context("the profile was not understood");
    Ok(Answer { inflaters: next()?, deflaters: next()? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_and_streams_are_right_and_anything_less_is_not() {
        let truth = Answer::truth();
        assert!(truth.is_right());
        let mut told = of_profile("93 1241240\n102 4559536\n").expect("two lines");
        assert!(told.is_right(), "{told:?}");
        told.deflaters.bytes -= 65_536;
        assert!(!told.is_right());
        assert!(!of_profile("31 1237768\n0 0\n").expect("two lines").is_right());
        assert!(of_profile("31\n").is_err());
    }
}
