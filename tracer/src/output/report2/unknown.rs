//! The reasons for what is `null`, by path.

use std::collections::BTreeMap;

use crate::process::Pid;
use crate::profile::Profile;
use crate::recording::RecordingState;

/// Reasons by path; `[]` stands for any row of a list.
pub(super) fn reasons(profile: &Profile) -> BTreeMap<String, String> {
    let mut reasons: BTreeMap<String, String> = BTreeMap::new();
    let mut put = |path: &str, why: &str| _ = reasons.insert(path.to_owned(), why.to_owned());
    let resident_bytes = |source| {
        let mut rows = profile.by_line.iter().filter(move |row| row.source == source);
        rows.any(|row| row.resident_bytes.is_none())
    };
    if resident_bytes("allocator") {
        put("by_line[].resident_bytes", resident(profile));
    } else if resident_bytes("mapping") {
        put("by_line[].resident_bytes", "of mappings it is told by part: memory.parts");
    }
    match &profile.holders {
        Err(why) => {
            ["holders", "by_line[].kept_by", "sites[].kept_by"].iter().for_each(|path| put(path, why))
        }
        Ok(about) => {
            let why = match profile.filtered.is_part {
                true => "the filters pass a part of what stacks have, and who keeps which part is not known",
                false => {
                    "what was mapped has no owner on the Java heap: holders are those of malloc's blocks"
                }
            };
            ["by_line[].kept_by", "sites[].kept_by"].iter().for_each(|path| put(path, why));
            if about.held_ns.is_none() {
                put("holders.held_ns", "the process was not held");
            }
        }
    }
    let growth = "the session was too short, or had too few moments, to tell growth";
    if profile.by_line.iter().any(|row| row.growth_bytes_per_s.is_none()) {
        put("by_line[].growth_bytes_per_s", growth);
    }
    if profile.by_line.iter().any(|row| row.growth_count_per_s.is_none()) {
        put("by_line[].growth_count_per_s", growth);
    }
    if profile.sites.iter().any(|row| row.verdict.is_none()) {
        put(
            "sites[].verdict",
            "the sites that hold least are judged as a part of their line alone: by_line[].verdict",
        );
    }
    if profile.sites.iter().any(|row| row.growth_bytes_per_s.is_none()) {
        put("sites[].growth_bytes_per_s", "too short a session, or a site that is not judged by itself");
    }
    if profile.filtered.is_part && profile.by_line.iter().all(|row| row.threads.is_empty()) {
        put("by_line[].threads", "the recording does not keep the threads of what passes the filter");
    }
    let ended = match &profile.state {
        RecordingState::Finished(_) => None,
        RecordingState::Recording => Some("it is still being recorded"),
        RecordingState::Unfinished => Some("the recorder was killed, or could not write on"),
    };
    if let Some(why) = ended {
        put("session.ended", why);
    }
    if profile.target.jvm.is_some() && profile.session.gc_count.is_none() {
        put("session.gc_count", "this JVM does not tell when it collects");
    }
    if profile.target.pid == Pid(0) {
        put("target.pid", "left out by --redact");
    }
    if profile.target.jvm.is_none() {
        put("target.jvm", "the process is not a JVM");
    }
    if profile.session.overhead_percent.is_none() {
        put("session.overhead_percent", "it was not measured");
    }
    if profile.memory.rss_bytes.is_none() {
        put("memory.rss_bytes", ended.unwrap_or("the process's memory was not looked at"));
    }
    if profile.memory.limit_bytes.is_none() {
        put("memory.limit_bytes", "no control group limits it, or the limit could not be read");
    }
    if profile.limits.is_none() {
        put("limits", "they were not looked at: an earlier version, or the process was gone");
    }
    if profile.fits.is_none() {
        put("fits", "there is no JVM or no limit, or they were not looked at");
    }
    if profile.memory.heap.is_none() {
        put("memory.heap", "malloc's heap was not gone through, or is not glibc's");
    }
    if profile.touched.is_none() {
        put("touched", "page faults were not sampled: that is for --probes light");
    }
    for (moment, census) in [("begin", &profile.census.begin), ("end", &profile.census.end)] {
        if census.is_none() {
            let told = profile.census.unknown.get(moment).map(String::as_str);
            let why = told.or(ended).unwrap_or("the recording has none");
            put(&format!("census.{moment}"), why);
        }
    }
    reasons
}

fn resident(profile: &Profile) -> &'static str {
    if profile.is_light() {
        "light: malloc was not watched"
    } else if profile.session.sample_bytes.is_some() {
        "sampled: not every live block is known"
    } else {
        "the recording does not say which pages of live blocks were in memory: an earlier version, a sampled part, or \
         the process was gone"
    }
}
