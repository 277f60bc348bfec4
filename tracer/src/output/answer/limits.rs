//! Limits that run out first, and when; and a heap that does not fit.

use std::io;

use super::screen::Screen;
use crate::limits::{Fits, Limit};
use crate::output::limits::{amount, name};
use crate::output::{clean, units};
use crate::profile::Profile;

/// Part of a limit, in percent, from which on it is told on the first screen.
const NEAR_PERCENT: u64 = 80;
/// A limit that is met later than this is not told there.
const SOON_SECONDS: u64 = 24 * 60 * 60;
/// Limits told there at most; `--all` has the others.
const LIMITS: usize = 3;
/// Growth that is met far from the limit is a start: from this part on it counts, in percent.
const GROWS_PERCENT: u64 = 20;
/// The host's: what others take goes up and down, so a minute's growth says nothing of the next.
const OF_HOST: [&str; 5] = ["host-memory", "swap", "commit", "threads:threads-max", "threads:pid-max"];

pub(super) fn limits(profile: &Profile, screen: &mut Screen<'_>) -> io::Result<()> {
    let sentences = sentences(profile);
    if !sentences.is_empty() {
        screen.gap()?;
    }
    sentences.iter().try_for_each(|text| screen.paragraph("LIMIT  ", text))
}

/// Limits that are met or soon will be, a sentence each, the most urgent first; then whether the heap fits.
pub(in crate::output) fn sentences(profile: &Profile) -> Vec<String> {
    let limits = profile.limits.as_deref().unwrap_or_default();
    let mut near: Vec<&Limit> = limits.iter().filter(|limit| is_near(limit)).collect();
    near.sort_by_key(|limit| (limit.reached_ns.is_none(), limit.seconds_left.unwrap_or(u64::MAX)));
    let misfit = profile.fits.as_ref().filter(|fits| !fits.fits);
    let near = near.into_iter().take(LIMITS).map(describe);
    near.chain(misfit.map(|fits| does_not_fit(fits, limits))).collect()
}

/// Is the limit used up, nearly so, or soon? Of a control group's memory, what the page cache takes is given back.
fn is_near(limit: &Limit) -> bool {
    let Some((needed, most)) = limit.needed().zip(limit.limit).filter(|(_, most)| *most > 0) else {
        return false;
    };
    let is_above = |percent: u64| u128::from(needed) * 100 >= u128::from(most) * u128::from(percent);
    let is_soon = limit.seconds_left.is_some_and(|seconds| seconds < SOON_SECONDS);
    let is_own = !OF_HOST.contains(&limit.id.as_str());
    limit.reached_ns.is_some() || is_above(NEAR_PERCENT) || is_own && is_soon && is_above(GROWS_PERCENT)
}

/// `direct buffers: 256.0 MiB of 256.0 MiB, full since 50.0 s, met 130 times; set by ...`.
fn describe(limit: &Limit) -> String {
    let (used, most) = (limit.used.unwrap_or(0), limit.limit.unwrap_or(0));
    let mut text = format!("{}: {} of {}", name(limit), amount(limit, used), amount(limit, most));
    if let Some(since_ns) = limit.reached_ns {
        text += &format!(", full since {}", units::duration(since_ns));
    } else if let Some(seconds) = limit.seconds_left {
        let left = units::duration(seconds.saturating_mul(1_000_000_000));
        text += &format!(", met in {left} if it goes on like this");
    }
    if let Some(hits) = limit.hits.filter(|&hits| hits > 0) {
        text += &format!(", met {}", units::counted(hits, "time"));
    }
    if let Some(set_by) = &limit.set_by {
        text += &format!("; set by {}", clean(set_by));
    }
    text
}

fn does_not_fit(fits: &Fits, limits: &[Limit]) -> String {
    let limit = limits.iter().find(|limit| limit.id == fits.limit_id);
    let most = limit.and_then(|limit| limit.limit).map_or_else(|| "not known".to_owned(), units::bytes);
    format!(
        "{} {most} is less than the heap's maximum {} + the rest {}: it does not fit",
        limit.map_or_else(|| clean(&fits.limit_id).into_owned(), name),
        units::bytes(fits.heap_max_bytes),
        units::bytes(fits.rest_bytes)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limit(used: u64, most: u64) -> Limit {
        Limit {
            id: "direct-buffers".to_owned(),
            used: Some(used),
            limit: Some(most),
            set_by: Some("-XX:MaxDirectMemorySize".to_owned()),
            ..Limit::default()
        }
    }

    #[test]
    fn what_is_near_is_told_with_when_and_by_whom() {
        assert!(!is_near(&limit(10, 100)) && is_near(&limit(80, 100)));
        assert!(!is_near(&Limit { seconds_left: Some(60), ..limit(10, 100) }));
        assert!(is_near(&Limit { seconds_left: Some(60), ..limit(30, 100) }));
        let of_host = Limit { id: "host-memory".to_owned(), seconds_left: Some(60), ..limit(30, 100) };
        assert!(!is_near(&of_host));
        let full = Limit { reached_ns: Some(50_000_000_000), hits: Some(130), ..limit(256 << 20, 256 << 20) };
        assert_eq!(
            describe(&full),
            "direct buffers: 256.0 MiB of 256.0 MiB, full since 50.0 s, met 130 times; set by -XX:MaxDirectMemorySize"
        );
    }
}
