//! Notes for a reader of two that are compared: that they are not of one kind, or not whole.

use crate::profile::{Profile, Target};
use crate::recording::RecordingState;
use crate::units;

/// Limits of the comparison of two recordings.
pub(super) fn of_profiles(base: &Profile, new: &Profile) -> Vec<String> {
    let mut notes = of_targets(&base.target, &new.target);
    let (before, after) = (&base.session, &new.session);
    if is_other_length(before.duration_ns, after.duration_ns) {
        notes.push(format!(
            "the base was recorded for {} and the new one for {}: compare what is per second",
            units::duration(before.duration_ns),
            units::duration(after.duration_ns)
        ));
    }
    if before.probes != after.probes {
        notes.push(format!(
            "the base has {} probes and the new one {}: what only one of them sees differs by that",
            before.probes, after.probes
        ));
    }
    if before.sample_bytes != after.sample_bytes {
        let how = |sample: Option<u64>| match sample {
            Some(bytes) => format!("a sample of every {}", units::bytes(bytes)),
            None => "every allocation".to_owned(),
        };
        let (base, new) = (how(before.sample_bytes), how(after.sample_bytes));
        notes.push(format!("the base has {base}, and the new one {new}: small differences may be chance"));
    } else if let Some(bytes) = before.sample_bytes {
        notes.push(format!(
            "both are samples of every {}: small differences may be chance",
            units::bytes(bytes)
        ));
    }
    for (name, profile) in [("the base", base), ("the new one", new)] {
        let lost = profile.quality.lost.values().fold(0, |sum: u64, &count| sum.saturating_add(count));
        if lost > 0 {
            notes.push(format!("{name} lost {}: `tracer report` says what", units::counted(lost, "event")));
        }
        if !matches!(profile.state, RecordingState::Finished(_)) {
            notes.push(format!("{name} was not finished: it ends at its last tick"));
        }
    }
    if after.started < before.started {
        notes.push(format!(
            "the new one was recorded before the base ({}, {})",
            after.started, before.started
        ));
    }
    notes
}

/// Is one session longer than the other? By a tenth: two of a minute differ in milliseconds.
pub(super) fn is_other_length(one_ns: u64, other_ns: u64) -> bool {
    one_ns.abs_diff(other_ns) > one_ns.max(other_ns) / 10
}

/// Limits of the comparison of two processes.
pub(super) fn of_targets(base: &Target, new: &Target) -> Vec<String> {
    let mut notes = Vec::new();
    if base.comm != new.comm {
        notes.push(format!("they are of different programs: {} and {}", base.comm, new.comm));
    } else if base.command != new.command {
        notes.push("they were started by different command lines".to_owned());
    }
    let jvm = |target: &Target| {
        let jvm = target.jvm.as_ref()?;
        let vendor = jvm.vendor.as_deref().map(|vendor| format!(" ({vendor})")).unwrap_or_default();
        Some((format!("{}{vendor}", jvm.version.as_deref().unwrap_or("of unknown version")), jvm.gc.clone()))
    };
    match (jvm(base), jvm(new)) {
        (Some(base), Some(new)) => {
            if base.0 != new.0 {
                notes.push(format!("they are of different JVMs: {} and {}", base.0, new.0));
            }
            if let (Some(base), Some(new)) = (base.1, new.1)
                && base != new
            {
                notes.push(format!("their JVMs collect by different collectors: {base} and {new}"));
            }
        }
        (Some(_), None) => notes.push("the base is of a JVM, and the new one is not".to_owned()),
        (None, Some(_)) => notes.push("the new one is of a JVM, and the base is not".to_owned()),
        (None, None) => {}
    }
    notes
}
