//! Schema `tracer.holders/1`. An unknown figure is null, and `unknown` has the reason by its path.

use serde_json::{Map, Value, json};

use crate::holders::{Group, Holders, HoldersError, Subject};

/// Groups that are listed.
const MAX_GROUPS: usize = 1000;

/// The answer as one JSON value.
pub fn value(holders: &Holders, subject: &Subject) -> Value {
    let pause = &holders.pause;
    let nanoseconds = |duration: Option<std::time::Duration>| {
        duration.map(|duration| u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX))
    };
    let heap = &holders.quality.heap;
    let unknown: Map<String, Value> =
        holders.unknown.iter().map(|(path, why)| ((*path).to_owned(), Value::from(why.as_str()))).collect();
    let findings = holders.findings.iter().map(|finding| {
        json!({
            "kind": finding.kind,
            "bytes": finding.bytes,
            "count": finding.count,
            "evidence": finding.evidence,
            "advice": finding.advice,
        })
    });
    json!({
        "schema": "tracer.holders/1",
        "target": target(subject, Some(holders.gc)),
        "heap": {"used_bytes": holders.heap_bytes},
        "pause": {
            "method": pause.method.as_str(),
            "held_ns": nanoseconds(pause.held),
            "predicted_ns": nanoseconds(pause.predicted),
            "looks": pause.looks,
        },
        "quality": {
            "objects": heap.objects,
            "unknown": heap.unknown,
            "outside": heap.outside,
            "retries": holders.quality.retries,
            "dead_places_skipped": holders.quality.bad_places,
            "consistent": holders.quality.consistent,
        },
        "group_count": holders.groups.len(),
        "groups": groups(&holders.groups),
        "findings": findings.collect::<Vec<_>>(),
        "unknown": unknown,
    })
}

/// The first groups.
pub fn groups(groups: &[Group]) -> Vec<Value> {
    groups.iter().take(MAX_GROUPS).map(group).collect()
}

fn group(group: &Group) -> Value {
    json!({
        "owner": group.owner.as_ref().map(|owner| json!({"class": owner.class, "field": owner.field})),
        "state": group.state.as_str(),
        "path": &*group.path,
        "count": group.count,
        "bytes": group.bytes,
        "exact": group.exact,
    })
}

/// Reason why there is no answer, in the same schema.
pub fn refusal(error: &HoldersError, subject: &Subject) -> Value {
    let why = error.to_string();
    json!({
        "schema": "tracer.holders/1",
        "target": target(subject, None),
        "pause": null,
        "quality": null,
        "group_count": null,
        "groups": null,
        "findings": null,
        "unknown": {"pause": why, "quality": why, "group_count": why, "groups": why, "findings": why},
    })
}

fn target(subject: &Subject, gc: Option<&str>) -> Value {
    json!({
        "pid": subject.pid,
        "comm": subject.comm,
        "command": subject.command,
        "container": subject.container,
        "java_home": subject.java_home,
        "jvm_version": subject.version,
        "gc": gc,
        "core": subject.core.as_ref().map(|core| core.display().to_string()),
    })
}
