//! Memory that a filter left out, in sentences.

use super::{clean, units};
use crate::profile::{Filtered, Profile};

/// The filter, what it left out, and how coarse that is. Empty: there was none.
pub(super) fn describe(filtered: &Filtered) -> Vec<String> {
    if filtered.flags.is_empty() {
        return Vec::new();
    }
    let rest = &filtered.rest;
    let mut sentences = vec![
        format!("Only {}.", clean(&filtered.flags.join(" "))),
        format!(
            "Left out: {} allocated, {} freed, {} not freed{}.",
            signed(rest.allocated_bytes),
            signed(rest.freed_bytes),
            signed(rest.live_bytes),
            if rest.live_bytes < 0 { " (more was not freed then than at the end)" } else { "" }
        ),
    ];
    sentences.extend(filtered.notes.iter().map(|note| clean(note).into_owned()));
    sentences
}

/// The same of a profile, where what is told beside the totals is of all of it.
pub(super) fn of_profile(profile: &Profile) -> Vec<String> {
    let mut sentences = describe(&profile.filtered);
    if profile.filtered.is_part {
        sentences.push("Growth and verdicts are of the whole course of these stacks.".to_owned());
    }
    sentences
}

fn signed(bytes: i64) -> String {
    let size = units::bytes(bytes.unsigned_abs());
    if bytes < 0 { format!("-{size}") } else { size }
}
