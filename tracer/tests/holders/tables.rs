//! Addresses in tables with primitive values, and in static fields: what they have is not lost.

use std::process::Command;

use serde_json::Value;

use crate::common::fixture::java_classes;
use crate::common::process::Process;
use crate::common::report::number;
use crate::{holders, is_root, matrix};

/// Blocks of each kind.
const COUNT: u64 = 200;
/// Some are not told as lost where malloc or the JVM left their addresses.
const LEAST_LOST: u64 = COUNT - 10;

#[test]
fn what_a_table_of_numbers_has_is_not_lost() {
    if !is_root() {
        return;
    }
    for (_, java, flags) in matrix() {
        let at = format!("{} {flags:?}", java.display());
        let mut command = Command::new(&java);
        command.args(["-Xmx512m", "-Xmn200m"]).args(&flags);
        command.arg("-cp").arg(java_classes()).arg("Tables");
        let (mut process, mut stdout, _stderr) = Process::start(&mut command);
        stdout.until("ready");
        let answer = holders(process.pid(), &["--max-pause", "20000"]);
        let groups = answer["groups"].as_array().expect("groups");
        // The owner, what the path begins with, the state and the bytes of a block, and how many there are.
        let told = |class: &str, root: Option<&str>, state: &str, bytes: u64| -> u64 {
            let is_it = |group: &&Value| {
                let count = number(group, "count");
                group["owner"]["class"] == class
                    && group["state"] == state
                    && group["path"][0]["name"].as_str() == root
                    && (bytes..bytes + 40).contains(&(number(group, "bytes") / count))
            };
            groups.iter().filter(is_it).map(|group| number(group, "count")).sum()
        };
        assert_eq!(told("long[]", Some("SMALL"), "held", 1_000), COUNT, "{at}: {answer:#}");
        assert_eq!(told("long[]", Some("LARGE"), "held", 2_000), COUNT, "{at}: {answer:#}");
        assert_eq!(told("Tables", Some("context"), "held", 6_000), 1, "{at}: {answer:#}");
        let lost = groups.iter().filter(|group| group["state"] == "lost");
        let (count, bytes) = lost.fold((0, 0), |(count, bytes), group| {
            assert_eq!(group["owner"]["class"], "Tables$Dropped", "{at}: {answer:#}");
            (count + number(group, "count"), bytes + number(group, "bytes"))
        });
        assert!((2 * LEAST_LOST..=2 * COUNT).contains(&count), "{at}: {answer:#}");
        // Of 3,000 and 4,000 bytes, and not the one of 5,000 that is among the numbers.
        assert!(bytes.abs_diff(count * 3_500) <= 10 * 1_000 + count * 40, "{at}: {answer:#}");
        assert_eq!(told("long[]", Some("RANDOM"), "held", 5_000), 0, "{at}: {answer:#}");
        let why = answer["unknown"]["groups[].state"].as_str().unwrap_or_default();
        assert!(why.contains("Tables$Dropped.handle"), "{at}: {why}");
        process.tell("");
        assert!(stdout.rest().contains("done"), "{at}");
        assert_eq!(process.wait().code(), Some(0), "{at}");
    }
}
