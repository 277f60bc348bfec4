//! Memory of a group that collections freed, and memory that survived them.

use super::classify::{
    self, COLLECTED_SHARE, Evidence, SMALL_BYTES, TESTED_SHARE, TESTED_WHOLE_SHARE, at, between,
};
use super::history::Point;
use super::sentence::Figures;
use crate::attribute::Nature;
use crate::recording::Collection;

/// Time in which cleaners have freed what a collection found.
const CLEANED_NS: u64 = 2_000_000_000;
/// Percentage of what was there that survived a collection if nothing of it was garbage: what is live changes between
/// samples.
const WHOLE_PERCENT: u128 = 90;

/// Memory that one collection led to free.
#[derive(Clone, Copy, Debug)]
struct Freed {
    /// Place among all collections: the epoch in which it was under way.
    epoch: u32,
    begin_ns: u64,
    full: bool,
    freed_bytes: u64,
    /// Live when it began.
    of_bytes: u64,
}

/// Effect of the collections of a session on a group.
#[derive(Debug)]
pub(super) struct Collected {
    /// Collections while the group had something live, by begin.
    collections: Vec<Freed>,
    /// Bytes that were freed by them.
    freed_bytes: u64,
    /// Live at the end, and allocated before the last collection. `None` if it is not known.
    survivors_bytes: Option<u64>,
    /// Live at the end, and allocated before a full collection or two others.
    tested_bytes: Option<u64>,
    /// Next to nothing of what was there then is gone.
    tested_whole: bool,
    tested_count: u64,
    tested_full_count: u64,
    end_live_bytes: u64,
    /// Bytes below which nothing is a finding.
    small_bytes: u64,
}

impl Collected {
    pub(super) fn of(case: &Evidence<'_>) -> Collected {
        let end = case.history.last().copied().unwrap_or_default();
        let all = case.collections.unwrap_or_default();
        let collections: Vec<Freed> = all
            .iter()
            .enumerate()
            .map(|(number, collection)| {
                let next_ns = all.get(number + 1).map_or(u64::MAX, |next| next.begin_ns);
                freed(case, u32::try_from(number).unwrap_or(u32::MAX), collection, next_ns)
            })
            .filter(|freed| freed.of_bytes > 0)
            .collect();
        let freed_bytes = match case.nature {
            Nature::Unloaded if !case.unloads => 0,
            Nature::Unloaded => {
                collections.iter().map(|freed| freed.freed_bytes).fold(0, u64::saturating_add)
            }
            _ => end.collected_bytes,
        };
        let survivors = |of: &Freed| {
            let old = case.births.iter().filter(|birth| birth.epoch <= of.epoch);
            let sum = old.map(|birth| birth.live_bytes).fold(0, u64::saturating_add);
            // Without births: what was there then and was not freed since, at the least.
            let then = at(case.history, of.begin_ns);
            let least = then.live_bytes().saturating_sub(end.freed_bytes.saturating_sub(then.freed_bytes));
            if case.births.is_empty() { least } else { sum }
        };
        let last_full = collections.iter().rev().find(|freed| freed.full);
        let last_but_one = collections.iter().rev().nth(1);
        // One alone looked at what is young, as all was; what it found would be freed by now.
        let is_whole = |of: &Freed| {
            u128::from(survivors(of)) * 100 >= u128::from(of.of_bytes) * WHOLE_PERCENT && of.of_bytes > 0
        };
        // It had grown by then as fast as since, at half the rate at the least.
        let is_sample = |of: &Freed| {
            let rate = |bytes: u64, time_ns: u64| bytes as f64 / time_ns.max(1) as f64;
            let since =
                rate(end.live_bytes().saturating_sub(of.of_bytes), end.time_ns.saturating_sub(of.begin_ns));
            rate(of.of_bytes, of.begin_ns) * 2.0 >= since
        };
        let only = collections.last().filter(|only| {
            collections.len() == 1
                && end.time_ns.saturating_sub(only.begin_ns) >= CLEANED_NS
                && is_whole(only)
        });
        let test = last_full.into_iter().chain(last_but_one).max_by_key(|freed| freed.begin_ns).or(only);
        // The older half of what came through has been through at least these.
        let median = test.map_or(u32::MAX, |test| median_epoch(case, test, &collections, survivors(test)));
        let through = || collections.iter().filter(|freed| freed.epoch >= median);
        Collected {
            survivors_bytes: collections.last().map(survivors),
            tested_bytes: test.map(survivors),
            tested_whole: test.is_some_and(|test| is_whole(test) && is_sample(test)),
            tested_count: through().count() as u64,
            tested_full_count: through().filter(|freed| freed.full).count() as u64,
            collections,
            freed_bytes,
            end_live_bytes: end.live_bytes(),
            small_bytes: case.least_bytes(),
        }
    }

    /// Collections while there was something to free.
    pub(super) fn count(&self) -> u64 {
        self.collections.len() as u64
    }

    /// Did what survived go through a full collection?
    pub(super) fn has_full(&self) -> bool {
        self.tested_full_count > 0
    }

    /// Time at which the last of them began.
    pub(super) fn last_ns(&self) -> Option<u64> {
        self.collections.last().map(|last| last.begin_ns)
    }

    /// Did the collections free enough to bend the course of what is live?
    pub(super) fn matters(&self) -> bool {
        self.freed_bytes >= self.small_bytes && self.freed_bytes.saturating_mul(10) >= self.end_live_bytes
    }

    /// Did the collections free most of what they could?
    pub(super) fn frees_most(&self) -> bool {
        let Some(survivors) = self.survivors_bytes else { return false };
        let share = self.freed_bytes as f64 / self.freed_bytes.saturating_add(survivors).max(1) as f64;
        self.freed_bytes >= self.small_bytes && share >= COLLECTED_SHARE
    }

    /// Bytes that they freed: the one that freed most, and all of them.
    pub(super) fn describe(&self, figures: &mut Figures) -> String {
        let all = figures.bytes("collected_bytes", self.freed_bytes);
        let Some(best) = self.collections.iter().max_by_key(|freed| freed.freed_bytes) else {
            return format!("collections freed {all}");
        };
        let kind = if best.full { "full GC" } else { "GC" };
        let when = figures.time("collection_begin_ns", best.begin_ns);
        let freed = figures.bytes("collection_freed_bytes", best.freed_bytes);
        let of = figures.bytes("collection_of_bytes", best.of_bytes.max(best.freed_bytes));
        let mut evidence = format!("a {kind} at {when} freed {freed} of {of}");
        if self.collections.len() > 1 {
            let count = figures.counted("collections_count", self.count(), "collection");
            evidence += &format!(" ({count} freed {all} in all)");
        }
        evidence
    }

    /// Did enough survive to be more than what is on its way out?
    pub(super) fn survives(&self) -> bool {
        let survivors = self.tested_bytes.unwrap_or_default();
        survivors >= self.small_bytes
            && survivors.saturating_mul(10) >= self.freed_bytes.saturating_add(survivors)
    }

    /// Survival of most of what is live through collections; `None` if too little of it has been through any that would
    /// have found it.
    pub(super) fn survived(&self, live_bytes: u64, figures: &mut Figures) -> Option<String> {
        let tested = self.tested_bytes?.min(live_bytes);
        let share = if self.tested_whole { TESTED_WHOLE_SHARE } else { TESTED_SHARE };
        if (tested as f64) < live_bytes as f64 * share {
            return None;
        }
        let count = figures.count("survived_count", self.tested_count);
        let full = figures.count("survived_full_count", self.tested_full_count);
        let gcs = match (self.tested_count, self.tested_full_count) {
            (1, 1) => "a full GC".to_owned(),
            (all, some) if all == some => format!("{count} full GCs"),
            (1, 0) => format!("{count} GC (none full)"),
            (_, 0) => format!("{count} GCs (none full)"),
            _ => format!("{count} GCs ({full} full)"),
        };
        let freed = match self.freed_bytes {
            0 => "freed nothing".to_owned(),
            bytes => format!("freed {}", figures.bytes("collected_bytes", bytes)),
        };
        Some(format!("{} survived {gcs}, which {freed}", figures.bytes("survived_bytes", tested)))
    }

    /// Bytes that they freed, for a sentence about something else.
    pub(super) fn in_passing(&self, figures: &mut Figures) -> Option<String> {
        (self.freed_bytes >= SMALL_BYTES)
            .then(|| format!("{} of it by collections", figures.bytes("collected_bytes", self.freed_bytes)))
    }
}

/// Memory that was freed after a collection until the next one began.
fn freed(case: &Evidence<'_>, epoch: u32, collection: &Collection, next_ns: u64) -> Freed {
    let Collection { begin_ns, end_ns, full } = *collection;
    let ended_ns = end_ns.unwrap_or(begin_ns);
    let before = at(case.history, begin_ns);
    let mut after = before;
    let mut high = before.live_bytes();
    let mut drop_bytes = 0;
    for point in between(case.history, begin_ns, next_ns) {
        let collected = point.collected_bytes.saturating_sub(before.collected_bytes);
        if collected == 0 && point.time_ns <= ended_ns {
            high = high.max(point.live_bytes());
        }
        drop_bytes = drop_bytes.max(high.saturating_sub(point.live_bytes()));
        after = *point;
    }
    let collected_bytes = after.collected_bytes.saturating_sub(before.collected_bytes);
    let freed_bytes = if case.nature == Nature::Unloaded { drop_bytes } else { collected_bytes };
    let of_bytes = at_begin(case.history, begin_ns, before, high);
    Freed { epoch, begin_ns, full, freed_bytes, of_bytes }
}

/// Memory that was live when a collection began: the sample that is taken then, or what the one before and the
/// rate between say.
fn at_begin(history: &[Point], begin_ns: u64, before: Point, high_bytes: u64) -> u64 {
    let Some(next) = between(history, begin_ns, u64::MAX).first() else {
        return before.live_bytes();
    };
    let span_ns = next.time_ns.saturating_sub(before.time_ns).max(1) as f64;
    let share = begin_ns.saturating_sub(before.time_ns) as f64 / span_ns;
    let allocated = next.allocated_bytes.saturating_sub(before.allocated_bytes) as f64 * share;
    // Memory that others freed meanwhile, too.
    let freed = next.freed_bytes.saturating_sub(before.freed_bytes);
    let collected = next.collected_bytes.saturating_sub(before.collected_bytes);
    let otherwise = freed.saturating_sub(collected) as f64 * share;
    let estimate = before.live_bytes() as f64 + allocated - otherwise;
    high_bytes.max(estimate.max(0.0) as u64)
}

/// The epoch by which half of what is live and was allocated before the collection `test` was allocated.
fn median_epoch(case: &Evidence<'_>, test: &Freed, collections: &[Freed], tested_bytes: u64) -> u32 {
    if case.births.is_empty() {
        // As much was there at least.
        let half = collections.iter().find(|freed| freed.of_bytes.saturating_mul(2) >= tested_bytes);
        return half.map_or(test.epoch, |freed| freed.epoch);
    }
    let old = || case.births.iter().filter(|birth| birth.epoch <= test.epoch);
    let half = old().map(|birth| birth.live_bytes).fold(0, u64::saturating_add) / 2;
    let mut sum = 0_u64;
    let reaches = |birth: &&classify::Birth| {
        sum = sum.saturating_add(birth.live_bytes);
        sum >= half
    };
    old().find(reaches).map_or(test.epoch, |birth| birth.epoch)
}
