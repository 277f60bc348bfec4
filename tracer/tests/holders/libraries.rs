//! Bindings of libraries of which tracer knows nothing, with as many objects kept and dropped as the program says.

use std::process::Command;

use crate::common::fixture::{classes_with, jdk_home, target_folder};
use crate::common::process::Process;
use crate::common::report::number;
use crate::common::skip;
use crate::{holders, is_root};

const JARS: [&str; 2] = ["zstd-jni-1.5.5-4.jar", "rocksdbjni-8.3.2.jar"];

#[test]
#[ignore = "needs jars that cargo xtask bench verdicts fetches; run by cargo xtask test holders"]
fn libraries_are_found_without_a_rule() {
    let jars = JARS.map(|name| target_folder().canonicalize().expect("target").join("jars").join(name));
    if !is_root() || !jars.iter().all(|jar| jar.exists()) {
        return skip("needs root, and target/jars");
    }
    let classes = classes_with("tests/holders", |_| true, &jars);
    let path = std::env::join_paths(jars.iter().chain([&classes])).expect("paths without colons");
    let mut command = Command::new(jdk_home().join("bin/java"));
    // The program drops some of them and allocates no more: no collection comes between.
    command.args(["-Xmx1g", "-Xmn600m", "-XX:+UseG1GC", "-cp"]).arg(path).arg("Libraries");
    let (mut process, mut stdout, _stderr) = Process::start(&mut command);
    while stdout.next() != "ready" {}

    let answer = holders(process.pid(), &["--max-pause", "5000"]);
    let groups = answer["groups"].as_array().expect("groups");
    let count = |class: &str, state: &str| -> u64 {
        let is_it = |group: &&serde_json::Value| group["owner"]["class"] == class && group["state"] == state;
        groups.iter().filter(is_it).map(|group| number(group, "count")).sum()
    };
    assert_eq!(count("com.github.luben.zstd.ZstdCompressCtx", "held"), 50);
    assert_eq!(count("com.github.luben.zstd.ZstdCompressCtx", "lost"), 60);
    assert_eq!(count("org.rocksdb.RocksIterator", "held"), 30);
    assert_eq!(count("org.rocksdb.WriteBatch", "held"), 30);
    assert_eq!(count("org.rocksdb.ReadOptions", "lost"), 200);
    let is_noise = |group: &serde_json::Value| group["owner"]["class"] == "Libraries$Noise";
    assert!(!groups.iter().any(is_noise), "{groups:?}");
    process.tell("");
    assert_eq!(process.wait().code(), Some(23));
}
