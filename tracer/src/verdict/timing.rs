//! Frees that follow collections, by whichever thread: libraries and applications have cleaners of their own, whose
//! names say nothing.

use super::classify::{Evidence, SMALL_BYTES, at};
use super::history::Point;
use super::sentence::Figures;
use crate::attribute::Nature;

/// Number of collections that freed something below which it may be chance.
const COLLECTIONS_MIN: usize = 3;
/// The part of all frees that must follow collections,
const FREED_SHARE: f64 = 0.9;
/// in so much of the time at most.
const TIME_SHARE: f64 = 0.5;
/// Collections that begin so soon after one another may be the pauses of one cycle.
const PAUSES_NS: u64 = 500_000_000;
/// A sample is taken when a collection begins: it may come a little after.
const SLACK_NS: u64 = 300_000_000;

/// A course in which what was freed counts as freed by collections.
pub(super) struct Followed {
    pub(super) history: Vec<Point>,
    /// The part of all frees that follow collections, and of the time in which they do.
    freed_share: f64,
    time_share: f64,
}

impl Followed {
    /// Reason why they count so.
    pub(super) fn describe(&self, figures: &mut Figures) -> String {
        let freed = figures.share("followed_share", self.freed_share);
        let time = figures.share("followed_time_share", self.time_share);
        format!("{freed} of its frees came right after collections, in {time} of the time")
    }
}

/// `None` if frees do not follow collections, or it is known already by whom they were.
pub(super) fn followed(case: &Evidence<'_>) -> Option<Followed> {
    let end = case.history.last()?;
    let known = end.collected_bytes.saturating_mul(2) >= end.freed_bytes;
    if known || !case.is_applications || case.nature == Nature::Unloaded || end.freed_bytes < SMALL_BYTES {
        return None;
    }
    let collections: Vec<u64> = case.collections.unwrap_or_default().iter().map(|it| it.begin_ns).collect();
    let collections = collections.chunk_by(|one, other| other.saturating_sub(*one) <= PAUSES_NS);
    let (mut freed_bytes, mut time_ns, mut times, mut asked, mut until_ns) = (0_u64, 0_u64, 0, 0, 0);
    for pauses in collections {
        let [Some(&first_ns), Some(&last_ns)] = [pauses.first(), pauses.last()] else { continue };
        if first_ns > end.time_ns {
            break;
        }
        asked += 1;
        let from_ns = first_ns.max(until_ns);
        let later = case.history.iter().position(|point| point.time_ns > last_ns.max(from_ns));
        let Some(next) = later.and_then(|at| case.history.get(at..)) else { continue };
        // The sample that is taken when it begins, if there is one: its frees come after.
        let of_begin = next.len() > 1 && next.first().is_some_and(|it| it.time_ns <= last_ns + SLACK_NS);
        let Some(to) = next.get(usize::from(of_begin)) else { continue };
        let freed = to.freed_bytes.saturating_sub(at(case.history, from_ns).freed_bytes);
        freed_bytes = freed_bytes.saturating_add(freed);
        time_ns += to.time_ns - from_ns;
        times += usize::from(freed > 0);
        until_ns = to.time_ns;
    }
    let freed_share = freed_bytes as f64 / end.freed_bytes as f64;
    let time_share = time_ns as f64 / end.time_ns.max(1) as f64;
    let follows = times >= COLLECTIONS_MIN
        && times * 2 >= asked
        && freed_share >= FREED_SHARE
        && time_share <= TIME_SHARE;
    follows.then(|| {
        let history =
            case.history.iter().map(|point| Point { collected_bytes: point.freed_bytes, ..*point }).collect();
        Followed { history, freed_share, time_share }
    })
}
