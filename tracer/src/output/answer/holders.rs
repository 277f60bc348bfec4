//! Holders of the memory that a finding's line allocated, in one line.

use crate::holders::HolderState;
use crate::output::holders::in_one_line;
use crate::profile::holders::merged;
use crate::profile::{HolderShare, LineRow};

/// Share of the bytes from which on one holder is told as theirs.
const MOST_SHARE: f64 = 0.5;

/// `kept by static shop.Archive.OPEN -> ... -> Inflater.zsRef (98 %)`. `None` if nobody looked, or no Java object has
/// any of it.
pub(in crate::output) fn line(rows: &[&LineRow], width: usize) -> Option<String> {
    let shares = merged(rows.iter().map(|row| row.holders.as_deref()))?;
    let all = sum(&shares);
    let first = shares.iter().find(|share| share.state != HolderState::None)?;
    // Memory that is held in many ways is told by what they have in common.
    let same = |other: &&HolderShare| {
        other.state == first.state
            && (first.path.is_empty() || other.path.first() == first.path.first())
            && other.path.is_empty() == first.path.is_empty()
    };
    let bytes = shares.iter().filter(same).map(|share| share.bytes).fold(0, u64::saturating_add);
    let part = bytes as f64 / all.max(1) as f64;
    let percent = format!("{:.0} %", 100.0 * part);
    // All of it needs no number.
    let share_text = if percent == "100 %" { String::new() } else { format!(" ({percent})") };
    let before = match first.state {
        HolderState::Held | HolderState::Stack => "kept by ",
        HolderState::Soft => "kept softly by ",
        HolderState::Collectable => {
            return Some(format!("kept by a cleaner or finalizer alone: garbage{share_text}"));
        }
        HolderState::Lost => return Some(format!("kept by nobody: lost{share_text}")),
        HolderState::Unseen => return Some(format!("no holder was seen without stopping{share_text}")),
        HolderState::None => return None,
    };
    let room = width.saturating_sub(before.len() + share_text.len());
    let most = if part < MOST_SHARE { "; others hold the rest" } else { "" };
    let path = in_one_line(&first.path, room.saturating_sub(most.len()));
    Some(format!("{before}{path}{share_text}{most}"))
}

fn sum(shares: &[HolderShare]) -> u64 {
    shares.iter().map(|share| share.bytes).fold(0, u64::saturating_add)
}
