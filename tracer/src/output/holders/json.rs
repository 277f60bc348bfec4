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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::holders::{BlockGroups, DataQuality, HolderState, Method, Owner, Pause};
    use crate::hotspot::heap::Quality;
    use crate::process::Pid;

    /// An answer of groups of one block each, the largest first.
    fn holders(group_count: usize) -> Holders {
        let group = |at: usize| Group {
            owner: Some(Owner { class: format!("acme.Owner{at}"), field: "address".to_owned() }),
            state: HolderState::Held,
            path: [].into(),
            count: 1,
            bytes: (group_count - at) as u64,
            exact: true,
        };
        Holders {
            pause: Pause { method: Method::Core, held: None, predicted: None, looks: 1 },
            quality: DataQuality { heap: Quality::default(), retries: 0, bad_places: 0, consistent: true },
            groups: (0..group_count).map(group).collect(),
            block_groups: BlockGroups::default(),
            findings: Vec::new(),
            heap_bytes: 0,
            gc: "G1",
            unknown: Vec::new(),
        }
    }

    #[test]
    fn the_largest_groups_are_listed_and_all_are_counted() {
        let subject = Subject {
            pid: Pid(1),
            comm: "java".to_owned(),
            command: Vec::new(),
            container: None,
            java_home: None,
            version: None,
            core: None,
        };
        for group_count in [0, 1, MAX_GROUPS, MAX_GROUPS + 1, 3 * MAX_GROUPS] {
            let value = value(&holders(group_count), &subject);
            assert_eq!(value["group_count"], group_count);
            let listed: Vec<&str> = value["groups"]
                .as_array()
                .expect("groups")
                .iter()
                .map(|group| group["owner"]["class"].as_str().expect("class"))
                .collect();
            let largest: Vec<String> =
                (0..group_count.min(MAX_GROUPS)).map(|at| format!("acme.Owner{at}")).collect();
            assert_eq!(listed, largest);
        }
    }
}
