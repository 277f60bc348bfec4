//! Stories of memory with a known owner and verdict, recorded and judged: `tests/stories`. Needs root and JDKs.
//!
//! A few of them run always; `TRACER_ALL_VERDICTS=1` (`cargo xtask bench verdicts`) runs all, on each JDK, and prints
//! precision and recall.

mod common;
#[path = "verdicts/score.rs"]
mod score;
#[path = "verdicts/stories.rs"]
mod stories;

use std::fs;
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;

use common::fixture::{fetched_java, jdk_home, jni_library, story_classes, target_folder};
use common::process::Process;
use common::recorder::{Recorder, tracer};
use score::{Row, Score};
use serde_json::Value;
use stories::{STORIES, Story};

/// Time that a story works, unless `TRACER_VERDICT_SECONDS` says otherwise.
const SECONDS: &str = "9";

/// JDKs on which all stories run.
const JDKS: [u32; 3] = [17, 21, 25];

/// Stories that run at a time: most of them sleep between their steps, and leave a CPU to others.
const SIDE_BY_SIDE: usize = 3;

/// Runs a story on a JVM of this version, and compares what a report says of it with what it says itself.
fn run(story: &Story, jdk: u32, java: &Path, seconds: &str) -> Row {
    let mut command = Command::new(java);
    let library = jni_library("forget", &jdk_home());
    command.args(["-Xmx256m", "-XX:+UseG1GC"]).args(story.flags);
    command.arg(format!("-Dseconds={seconds}")).arg(format!("-Dlibrary={}", library.display()));
    command.arg("-cp").arg(story_classes()).args(["Stories", story.mode]);
    let (mut target, mut stdout, _stderr) = Process::start(&mut command);
    stdout.until("started");
    let recorder = Recorder::attach(target.pid(), &format!("story-{}-{jdk}", story.mode), &[]);
    target.tell("start");
    let truth: Value = serde_json::from_str(&stdout.next()).expect("a story's truth is JSON");
    let recording = recorder.stop();
    assert_eq!(recording.status.code(), Some(0), "the recorder failed:\n{}", recording.stderr);
    let report = recording.report();
    if let Some(folder) = std::env::var_os("TRACER_KEEP_RECORDINGS") {
        let kept = Path::new(&folder).join(format!("{}-{jdk}.trec", story.mode));
        fs::copy(&recording.file, &kept).expect("keep the recording");
        fs::write(kept.with_extension("truth"), truth.to_string()).expect("keep the truth");
    }
    Row::of(story, jdk, &truth, &report)
}

/// Judges again a recording that `TRACER_KEEP_RECORDINGS` kept in a folder, as another build may judge it.
fn judge_again(story: &Story, jdk: u32, folder: &Path) -> Option<Row> {
    let file = folder.join(format!("{}-{jdk}.trec", story.mode));
    let truth =
        serde_json::from_slice(&fs::read(file.with_extension("truth")).ok()?).expect("a truth is JSON");
    let output = tracer().arg("report").arg(&file).args(["--format", "json"]).output().expect("run tracer");
    let report = serde_json::from_slice(&output.stdout).expect("the report is JSON");
    Some(Row::of(story, jdk, &truth, &report))
}

/// The stories that run always, each on another JDK: the story, its JDK.
const SHORT: [(&str, u32); 7] = [
    ("inflaters-dropped", 17),
    ("inflaters-kept", 25),
    ("direct-dropped-before-gc", 21),
    ("direct-pool", 25),
    ("executor-per-request", 17),
    ("jni-malloc", 21),
    ("warm-up", 17),
];

#[test]
fn stories_get_their_verdicts() {
    let Some(_turn) = common::privileged() else { return };
    for (mode, jdk) in SHORT {
        let story = STORIES.iter().find(|story| story.mode == mode).expect("a story");
        let Some(java) = fetched_java(jdk) else {
            common::skip("needs the JDKs of the matrix (cargo xtask setup --tests)");
            return;
        };
        let row = run(story, jdk, &java, "7");
        assert!(row.is_right(), "{}", row.told());
    }
}

#[test]
fn all_stories_on_all_jdks() {
    if !std::env::var("TRACER_ALL_VERDICTS").is_ok_and(|value| value == "1") {
        return;
    }
    let Some(_turn) = common::privileged() else { return };
    let list = |name: &str| -> Option<Vec<String>> {
        let text = std::env::var(name).ok()?;
        Some(text.split(',').map(str::to_owned).collect())
    };
    let (only, jdks) = (list("TRACER_VERDICT_STORIES"), list("TRACER_VERDICT_JDKS"));
    let is_wanted = |list: &Option<Vec<String>>, name: &str| {
        list.as_ref().is_none_or(|list| list.iter().any(|wanted| wanted == name))
    };
    let seconds = std::env::var("TRACER_VERDICT_SECONDS").unwrap_or_else(|_| SECONDS.to_owned());
    let jdks: Vec<u32> = JDKS.into_iter().filter(|jdk| is_wanted(&jdks, &jdk.to_string())).collect();
    let runs: Vec<(&Story, u32)> = STORIES
        .iter()
        .filter(|story| is_wanted(&only, story.mode))
        .flat_map(|story| jdks.iter().map(move |&jdk| (story, jdk)))
        .filter(|(story, jdk)| story.from_jdk <= *jdk)
        .collect();
    let next = AtomicUsize::new(0);
    let rows = Mutex::new(Vec::new());
    let work = || {
        while let Some(&(story, jdk)) = runs.get(next.fetch_add(1, Ordering::Relaxed)) {
            let row = match std::env::var_os("TRACER_JUDGE_AGAIN") {
                Some(folder) => judge_again(story, jdk, Path::new(&folder)),
                None => {
                    let java = fetched_java(jdk).expect("the JDKs of the matrix (cargo xtask setup --tests)");
                    Some(run(story, jdk, &java, &seconds))
                }
            };
            let Some(row) = row else { continue };
            let mut rows = rows.lock().unwrap_or_else(PoisonError::into_inner);
            rows.push(row);
            println!("{}/{} {}", rows.len(), runs.len(), rows.last().map_or_else(String::new, Row::told));
        }
    };
    thread::scope(|scope| {
        for _ in 0..SIDE_BY_SIDE {
            scope.spawn(work);
        }
    });
    let score = Score::of(rows.into_inner().unwrap_or_else(PoisonError::into_inner));
    println!("\n{}", score.told());
    let all = serde_json::to_string_pretty(&score.json()).expect("JSON");
    fs::write(target_folder().join("verdicts.json"), all).expect("write the results");
    assert!(score.is_enough(), "precision and recall are at least 95 %");
}
