//! A range of time: what each row allocated in it, and what of that was live at its end.
//!
//! A recording keeps cumulative totals at moments. Allocated in a range is the difference; but which of its frees were
//! of what was allocated before is kept only as far as it is live at the very end (births). So live is what is sure,
//! and what may come on top is told.

use std::collections::HashMap;

use super::live_parts::slice_ns;
use super::{Part, Refusal};
use crate::recording::{MomentTotals, Recording, Source, StackRef, Totals};
use crate::units;

/// Totals of every row at both ends of a range.
pub(super) struct Range {
    /// Begin since the session started.
    from_ns: u64,
    at_from: Vec<Totals>,
    at_to: Vec<Totals>,
    /// Bytes by stack: live at the recording's end and surely allocated in the range, and not surely.
    births: HashMap<StackRef, [(u64, u64); 2]>,
    is_to_end: bool,
    has_births: bool,
}

/// The part of a row that is in a range.
pub(super) struct Within {
    pub(super) totals: Totals,
    /// Live bytes that may be in it, too.
    pub(super) perhaps_bytes: u64,
}

/// The moments that a recording keeps, since its session started: start and end are two of them.
fn moments(recording: &Recording) -> Vec<u64> {
    let since = |time_ns: u64| time_ns.saturating_sub(recording.session.started_ns);
    let kept = recording.series.iter().map(|sample| since(sample.time_ns));
    let mut moments: Vec<u64> = std::iter::once(0)
        .chain(kept.filter(|&time_ns| time_ns < recording.duration_ns))
        .chain([recording.duration_ns])
        .collect();
    moments.sort_unstable();
    moments.dedup();
    moments
}

/// The largest step between two moments that are kept.
fn step_ns(moments: &[u64]) -> u64 {
    let steps = moments.windows(2).filter_map(|pair| Some(pair.last()? - pair.first()?));
    steps.max().unwrap_or(0)
}

/// The kept moments that are nearest to the ends of the range that is asked for.
fn ends(recording: &Recording, asked: &Part, moments: &[u64]) -> Result<(u64, u64), Refusal> {
    for (flag, time_ns) in [("--from", asked.from_ns), ("--to", asked.to_ns)] {
        if time_ns.is_some_and(|time_ns| time_ns > recording.duration_ns) {
            return Err(Refusal::BeyondEnd { flag, length: units::duration(recording.duration_ns) });
        }
    }
    let nearest = |wanted_ns: u64| {
        moments.iter().copied().min_by_key(|moment| moment.abs_diff(wanted_ns)).unwrap_or(wanted_ns)
    };
    let from_ns = asked.from_ns.map_or(0, nearest);
    let to_ns = asked.to_ns.map_or(recording.duration_ns, nearest);
    if from_ns >= to_ns && recording.duration_ns > 0 {
        return Err(Refusal::NoRange { apart: units::duration(step_ns(moments)) });
    }
    Ok((from_ns, to_ns))
}

/// The kept moment after one and up to another at which most was live of the allocator's rows that pass; the last one
/// of several.
fn peak_ns(recording: &Recording, passes: impl Fn(usize) -> bool, from_ns: u64, to_ns: u64) -> u64 {
    let counts = |row: usize| {
        passes(row) && recording.totals.get(row).is_some_and(|row| row.source == Source::Allocator)
    };
    let mut live = vec![0_u64; recording.totals.len()];
    let mut sum = 0_u64;
    let mut set = |row: usize, now: u64| {
        if let Some(live) = live.get_mut(row).filter(|_| counts(row)) {
            sum = sum.saturating_sub(std::mem::replace(live, now)).saturating_add(now);
        }
        sum
    };
    let (mut most, mut peak_ns) = (0, to_ns);
    // Where nothing changed, as much was live as before.
    let mut now = 0;
    for sample in &recording.series {
        for row in &sample.rows {
            now = set(usize::try_from(row.total).unwrap_or(usize::MAX), row.totals.live_bytes());
        }
        let time_ns = sample.time_ns.saturating_sub(recording.session.started_ns);
        if now >= most && time_ns > from_ns && time_ns <= to_ns {
            (most, peak_ns) = (now, time_ns);
        }
    }
    if to_ns >= recording.duration_ns {
        let now = recording
            .totals
            .iter()
            .enumerate()
            .fold(0, |_, (row, total)| set(row, MomentTotals::from(&total.totals).live_bytes()));
        peak_ns = if now >= most { to_ns } else { peak_ns };
    }
    peak_ns
}

impl Range {
    /// The range that is asked for, up to the moment in it at which most was live of the allocator's rows that pass if
    /// that is; and sentences that say between which kept moments it is.
    pub(super) fn new(
        recording: &Recording,
        asked: &Part,
        passes: impl Fn(usize) -> bool,
    ) -> Result<(Range, Vec<String>), Refusal> {
        if asked.is_peak && recording.series.is_empty() {
            return Err(Refusal::NoMoments { flag: "--view peak" });
        }
        let moments = moments(recording);
        let apart = || units::duration(step_ns(&moments));
        let (from_ns, mut to_ns) = ends(recording, asked, &moments)?;
        let mut notes = Vec::new();
        if asked.from_ns.is_some() || asked.to_ns.is_some() {
            notes.push(format!(
                "The range is from {} to {}: moments that the recording keeps, at most {} apart.",
                seconds(from_ns),
                seconds(to_ns),
                apart()
            ));
        }
        if asked.is_peak {
            to_ns = peak_ns(recording, passes, from_ns, to_ns);
            notes.push(format!(
                "The peak is at {}: of the moments that the recording keeps, at most {} apart, the one with most not freed.",
                seconds(to_ns),
                apart()
            ));
        }
        Ok((Range::between(recording, from_ns, to_ns), notes))
    }

    fn between(recording: &Recording, from_ns: u64, to_ns: u64) -> Range {
        let started_ns = recording.session.started_ns;
        let (first_ns, last_ns) = (started_ns + from_ns, started_ns + to_ns);
        let slice_ns = slice_ns(recording);
        let is_to_end = to_ns >= recording.duration_ns;
        let mut births: HashMap<StackRef, [(u64, u64); 2]> = HashMap::new();
        for row in &recording.survivors {
            let until_ns = row.born_ns.saturating_add(slice_ns);
            if until_ns <= first_ns || row.born_ns >= last_ns {
                continue;
            }
            let is_sure = row.born_ns >= first_ns && (is_to_end || until_ns <= last_ns);
            let [sure, perhaps] = births.entry(row.stack).or_default();
            let sum = if is_sure { sure } else { perhaps };
            *sum = (sum.0.saturating_add(row.live_bytes), sum.1.saturating_add(row.live_count));
        }
        Range {
            from_ns,
            at_from: totals_at(recording, from_ns),
            at_to: totals_at(recording, to_ns),
            births,
            is_to_end,
            has_births: !recording.survivors.is_empty(),
        }
    }

    /// The part of a row that is in the range. `stack`: its stack, if it is one of the allocator's.
    pub(super) fn of_row(&self, row: usize, stack: Option<StackRef>) -> Within {
        let at = |totals: &[Totals]| totals.get(row).copied().unwrap_or_default();
        let (from, to) = (at(&self.at_from), at(&self.at_to));
        if self.from_ns == 0 {
            return Within { totals: to, perhaps_bytes: 0 };
        }
        let bytes = Bounds::new(
            [from.allocated_bytes, to.allocated_bytes],
            [from.freed_bytes, to.freed_bytes],
            self.births_of(stack).map(|(bytes, _)| bytes),
            self.is_to_end && self.has_births && stack.is_some(),
        );
        let count = Bounds::new(
            [from.allocated_count, to.allocated_count],
            [from.freed_count, to.freed_count],
            self.births_of(stack).map(|(_, count)| count),
            self.is_to_end && self.has_births && stack.is_some(),
        );
        let allocated_bytes = to.allocated_bytes.saturating_sub(from.allocated_bytes);
        let allocated_count = to.allocated_count.saturating_sub(from.allocated_count);
        let variance = |from: u64, to: u64| to.saturating_sub(from);
        let freed_bytes = allocated_bytes - bytes.least;
        let collected_bytes = to.collected_bytes.saturating_sub(from.collected_bytes).min(freed_bytes);
        Within {
            totals: Totals {
                allocated_bytes,
                allocated_count,
                freed_bytes,
                freed_count: allocated_count - count.least,
                collected_bytes,
                allocated_bytes_variance: variance(
                    from.allocated_bytes_variance,
                    to.allocated_bytes_variance,
                ),
                allocated_count_variance: variance(
                    from.allocated_count_variance,
                    to.allocated_count_variance,
                ),
                freed_bytes_variance: variance(from.freed_bytes_variance, to.freed_bytes_variance),
                freed_count_variance: variance(from.freed_count_variance, to.freed_count_variance),
            },
            perhaps_bytes: bytes.most - bytes.least,
        }
    }

    fn births_of(&self, stack: Option<StackRef>) -> [(u64, u64); 2] {
        stack.and_then(|stack| self.births.get(&stack)).copied().unwrap_or_default()
    }
}

/// Bounds of the truth.
struct Bounds {
    least: u64,
    most: u64,
}

impl Bounds {
    /// Totals of memory that was allocated in the range and live at its end. Cumulative numbers are at the range's
    /// start and end; `births` are what is surely and perhaps in it, and all that there can be if `are_all`.
    fn new(allocated: [u64; 2], freed: [u64; 2], births: [u64; 2], are_all: bool) -> Bounds {
        let [[allocated_from, allocated_to], [freed_from, freed_to]] = [allocated, freed];
        let allocated = allocated_to.saturating_sub(allocated_from);
        let freed = freed_to.saturating_sub(freed_from);
        let [sure, perhaps] = births;
        // All that was live at the start may have been freed, or nothing of it.
        let most = allocated.min(allocated_to.saturating_sub(freed_to));
        let most = if are_all { most.min(sure.saturating_add(perhaps)) } else { most };
        let least = allocated.saturating_sub(freed).max(sure).min(most);
        Bounds { least, most }
    }
}

/// The totals of each row at the last moment that is kept up to a time.
fn totals_at(recording: &Recording, time_ns: u64) -> Vec<Totals> {
    if time_ns >= recording.duration_ns {
        return recording.totals.iter().map(|row| row.totals).collect();
    }
    let mut totals = vec![MomentTotals::default(); recording.totals.len()];
    let until_ns = recording.session.started_ns + time_ns;
    for sample in recording.series.iter().take_while(|sample| sample.time_ns <= until_ns) {
        for row in &sample.rows {
            let at = usize::try_from(row.total).unwrap_or(usize::MAX);
            if let Some(total) = totals.get_mut(at) {
                *total = row.totals;
            }
        }
    }
    recording.totals.iter().zip(totals).map(|(row, moment)| with_variances(moment, &row.totals)).collect()
}

/// Totals of a stack at a moment, with their share of its variances at the end: a recording keeps no others, and most
/// stacks allocate much the same each time.
fn with_variances(moment: MomentTotals, end: &Totals) -> Totals {
    let share = |variance: u64, part: u64, whole: u64| {
        let share = u128::from(variance) * u128::from(part.min(whole)) / u128::from(whole.max(1));
        u64::try_from(share).unwrap_or(u64::MAX)
    };
    let MomentTotals { allocated_bytes, allocated_count, freed_bytes, freed_count, collected_bytes } = moment;
    Totals {
        allocated_bytes,
        allocated_count,
        freed_bytes,
        freed_count,
        collected_bytes,
        allocated_bytes_variance: share(end.allocated_bytes_variance, allocated_bytes, end.allocated_bytes),
        allocated_count_variance: share(end.allocated_count_variance, allocated_count, end.allocated_count),
        freed_bytes_variance: share(end.freed_bytes_variance, freed_bytes, end.freed_bytes),
        freed_count_variance: share(end.freed_count_variance, freed_count, end.freed_count),
    }
}

/// `12.3 s`: moments, unlike lengths, are always told in seconds.
fn seconds(time_ns: u64) -> String {
    format!("{:.1} s", time_ns as f64 / 1e9)
}
