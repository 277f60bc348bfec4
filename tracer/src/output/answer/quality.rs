//! Quality of the data in a line or two.

use std::io;

use super::screen::Screen;
use crate::output::text::lost_told;
use crate::output::units;
use crate::profile::Profile;

pub(super) fn quality(profile: &Profile, screen: &mut Screen<'_>) -> io::Result<()> {
    screen.gap()?;
    screen.paragraph("Data quality: ", &describe(profile))?;
    // The heading says what light leaves out.
    let told = |note: &&String| profile.is_light() && note.starts_with("light: ");
    for note in profile.quality.notes.iter().filter(|note| !told(note)) {
        screen.paragraph("note: ", &crate::output::clean(note))?;
    }
    Ok(())
}

/// `nothing lost, all 6,365 stacks whole, cost 1 % of one CPU`.
pub(in crate::output) fn describe(profile: &Profile) -> String {
    let quality = &profile.quality;
    let mut parts = Vec::new();
    if quality.lost.is_empty() {
        parts.push("nothing lost".to_owned());
    }
    for (reason, count) in &quality.lost {
        parts.push(format!("LOST {}: {}", units::count(*count), lost_told(reason)));
    }
    if quality.stacks_total > 0 {
        let (whole, all) = (quality.stacks_complete.min(quality.stacks_total), quality.stacks_total);
        parts.push(match whole == all {
            true => format!("all {} whole", units::counted(all, "stack")),
            false => format!("{} of {} whole", units::count(whole), units::counted(all, "stack")),
        });
    }
    if let Some(percent) = profile.session.overhead_percent_of_cpu {
        parts.push(format!("cost {percent} % of one CPU"));
    }
    if let Some(count) = quality.unmatched_frees.filter(|&count| count > 0) {
        parts.push(format!("{} freed too (normal)", units::counted(count, "older block")));
    }
    parts.join(", ")
}
