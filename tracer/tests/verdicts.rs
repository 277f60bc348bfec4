//! Programs with a known truth, recorded and judged: `tests/stories`. Needs root and JDKs.
//!
//! A few of them run always; `TRACER_ALL_VERDICTS=1` (`cargo xtask bench verdicts`) runs all, on each JDK and collector
//! that they are for, and prints precision and recall. The answer of each report is left in `target/verdicts`.

mod common;
#[path = "verdicts/programs.rs"]
mod programs;
#[path = "verdicts/score.rs"]
mod score;
#[path = "verdicts/stories.rs"]
mod stories;

use std::collections::BTreeSet;
use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use common::fixture::{fetched_java, java_command, jdk_home, jni_library, story_classes, target_folder};
use common::process::{Lines, Process};
use common::recorder::{Recorder, Recording, tracer};
use programs::{Program, programs};
use score::{Row, Score, Subject};
use serde_json::Value;
use stories::{STORIES, Story};
use tracer::process::Pid;

/// Time that a story works, unless `TRACER_VERDICT_SECONDS` says otherwise.
const SECONDS: &str = "9";

/// JDKs on which all stories run.
const JDKS: [u32; 3] = [17, 21, 25];

/// Programs that run at a time, unless `TRACER_VERDICT_SIDE_BY_SIDE` says otherwise: most of them sleep between their
/// steps, and leave a CPU to others.
const SIDE_BY_SIDE: usize = 3;

/// Program that is run.
#[derive(Clone, Copy)]
enum Source {
    Story(&'static Story),
    Program(&'static Program),
}

/// A program, and where it is run.
struct Run {
    subject: Subject,
    source: Source,
}

impl Run {
    fn of_story(story: &'static Story, jdk: u32) -> Run {
        let subject = Subject {
            set: "stories",
            name: story.mode.to_owned(),
            jdk,
            collector: "G1".to_owned(),
            evidence: story.evidence.to_owned(),
            also: story.also.iter().map(|&id| id.to_owned()).collect(),
        };
        Run { subject, source: Source::Story(story) }
    }

    fn of_program(program: &'static Program, pair: &str) -> Run {
        let (jdk, collector) = pair.split_once(' ').expect("a JDK and a collector");
        let subject = Subject {
            set: program.set(),
            name: program.name.clone(),
            jdk: jdk.parse().expect("a version"),
            collector: collector.to_owned(),
            evidence: program.told.clone(),
            also: program.also.clone(),
        };
        Run { subject, source: Source::Program(program) }
    }

    fn all() -> Vec<Run> {
        let stories = STORIES.iter().flat_map(|story| {
            JDKS.into_iter().filter(|jdk| story.from_jdk <= *jdk).map(move |jdk| Run::of_story(story, jdk))
        });
        // Each program once before any is run again.
        let most = programs().iter().map(|program| program.on.len()).max().unwrap_or(0);
        let programs = (0..most).flat_map(|at| {
            programs().iter().filter_map(move |program| Some(Run::of_program(program, program.on.get(at)?)))
        });
        stories.chain(programs).collect()
    }

    /// The program's truth, as far as it is known before it ran.
    fn truth(&self) -> Value {
        match self.source {
            Source::Story(_) => Value::Null,
            Source::Program(program) => program.truth(),
        }
    }

    /// Runs it, and compares what a report says of it with its truth.
    fn judge(&self, seconds: &str) -> Row {
        let Subject { jdk, collector, .. } = &self.subject;
        let (truth, recording, notes) = match self.source {
            Source::Story(story) => record_story(story, *jdk, &self.subject.id(), seconds),
            Source::Program(program) => {
                let command = program.command(*jdk, collector).expect("the JDK (cargo xtask bench verdicts)");
                record_program(program, *jdk, command, &self.subject.id())
            }
        };
        assert_eq!(recording.status.code(), Some(0), "the recorder failed:\n{}", recording.stderr);
        let row = Row::of(&self.subject, &truth, &recording.report());
        self.keep(&truth, &recording, &notes, &row);
        row
    }

    /// Leaves what was told, and what is asked for besides.
    fn keep(&self, truth: &Value, recording: &Recording, notes: &str, row: &Row) {
        let folder = target_folder().join("verdicts");
        fs::create_dir_all(&folder).expect("make a folder");
        let told = format!("{}\n\n{notes}\n{}", row.describe(), recording.render(&[]));
        fs::write(folder.join(self.subject.id()).with_extension("txt"), told).expect("keep what was told");
        let Some(folder) = std::env::var_os("TRACER_KEEP_RECORDINGS") else { return };
        let kept = PathBuf::from(folder).join(format!("{}.trec", self.subject.id()));
        fs::copy(&recording.file, &kept).expect("keep the recording");
        fs::write(kept.with_extension("truth"), truth.to_string()).expect("keep the truth");
    }

    /// Judges again a recording that `TRACER_KEEP_RECORDINGS` kept in a folder, as another build may judge it.
    fn judge_again(&self, folder: &Path) -> Option<Row> {
        let file = folder.join(format!("{}.trec", self.subject.id()));
        let kept = fs::read(file.with_extension("truth")).ok()?;
        let truth = match self.truth() {
            Value::Null => serde_json::from_slice(&kept).expect("a truth is JSON"),
            truth => truth,
        };
        let output =
            tracer().arg("report").arg(&file).args(["--format", "json"]).output().expect("run tracer");
        let report = serde_json::from_slice(&output.stdout).expect("the report is JSON");
        Some(Row::of(&self.subject, &truth, &report))
    }
}

/// Records a story on a JVM of this version: its truth, the recording, and nothing to note.
fn record_story(story: &Story, jdk: u32, id: &str, seconds: &str) -> (Value, Recording, String) {
    let java = fetched_java(jdk).expect("the JDKs of the matrix (cargo xtask setup --tests)");
    let mut command = Command::new(java);
    let library = jni_library("forget", &jdk_home());
    command.args(["-Xmx256m", "-XX:+UseG1GC"]).args(story.flags);
    command.arg(format!("-Dseconds={seconds}")).arg(format!("-Dlibrary={}", library.display()));
    command.arg("-cp").arg(story_classes()).args(["Stories", story.mode]);
    let (mut target, mut stdout, _stderr) = Process::start(&mut command);
    stdout.until("started");
    let recorder = Recorder::attach(target.pid(), &format!("story-{id}"), &[]);
    target.tell("start");
    let truth: Value = serde_json::from_str(&stdout.next()).expect("a story's truth is JSON");
    (truth, recorder.stop(), String::new())
}

/// Records a program of the table: its truth, the recording, and what else was seen.
fn record_program(program: &Program, jdk: u32, mut command: Command, id: &str) -> (Value, Recording, String) {
    let (mut target, mut stdout, stderr) = Process::start(&mut command);
    if !program.is_case {
        stdout.until("started");
        let recorder = Recorder::attach(target.pid(), &format!("program-{id}"), &[]);
        target.tell("start");
        stdout.until("{}");
        return (program.truth(), recorder.stop(), String::new());
    }
    thread::sleep(Duration::from_secs(program.attach_seconds()));
    let recorder = Recorder::attach(target.pid(), &format!("case-{id}"), &[]);
    let third = Duration::from_secs(program.seconds()) / 3;
    for _ in 0..2 {
        thread::sleep(third);
        if program.gc {
            collect(jdk, target.pid());
        }
    }
    thread::sleep(third);
    let mut notes = census_notes(program, target.pid());
    let recording = recorder.stop();
    drop(target);
    notes += &last_truth(&mut stdout, stderr);
    (program.truth(), recording, notes)
}

/// Asks a JVM to collect.
fn collect(jdk: u32, pid: Pid) {
    let mut command = java_command(jdk).expect("the JDK");
    command.args([
        "-Xmx64m",
        "-XX:+UseSerialGC",
        "-XX:TieredStopAtLevel=1",
        "-m",
        "jdk.jcmd/sun.tools.jcmd.JCmd",
    ]);
    let done = command.args([&pid.to_string(), "GC.run"]).output().expect("run jcmd");
    assert!(done.status.success(), "jcmd: {}", String::from_utf8_lossy(&done.stderr));
}

/// The first finding of a census, where a program has one; fails if it is not the one.
fn census_notes(program: &Program, pid: Pid) -> String {
    let Some(wanted) = &program.census else { return String::new() };
    let output = tracer().args(["census", "-p", &pid.to_string()]).output().expect("run tracer");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let first = text.lines().skip_while(|line| !line.starts_with("Findings") && !line.contains("stands out"));
    let first: Vec<&str> = first.take(3).collect();
    assert!(
        first.concat().contains(wanted),
        "the census does not begin with {wanted}:\n{}",
        first.join("\n")
    );
    first.join("\n")
}

/// The last line of a case's own figures.
fn last_truth(stdout: &mut Lines, _stderr: Lines) -> String {
    let lines = stdout.rest();
    lines.lines().rfind(|line| line.starts_with("TRUTH")).unwrap_or_default().to_owned()
}

/// Number of the short ones that run at a time: others would take from the seconds that they have.
const SHORT_SIDE_BY_SIDE: usize = 2;

/// The stories that run always, each on another JDK: the story, its JDK.
const SHORT: [(&str, u32); 20] = [
    ("inflaters-dropped", 17),
    ("inflaters-kept", 25),
    ("direct-dropped-before-gc", 21),
    ("direct-pool", 25),
    ("executor-per-request", 17),
    ("jni-malloc", 21),
    ("warm-up", 17),
    ("deflater-per-connection", 21),
    ("deflaters-dropped", 17),
    ("direct-kept", 25),
    ("nio-temporary", 17),
    ("jni-globals", 25),
    ("mapped-files", 21),
    ("file-rotation", 17),
    ("slow-leak", 25),
    ("own-cleaner", 21),
    ("cache-at-its-limit", 17),
    ("threads-that-end", 21),
    ("open-jars", 25),
    ("remembered-sets", 21),
];

#[test]
fn stories_get_their_verdicts() {
    let Some(_turn) = common::privileged() else { return };
    if SHORT.iter().any(|(_, jdk)| fetched_java(*jdk).is_none()) {
        common::skip("needs the JDKs of the matrix (cargo xtask setup --tests)");
        return;
    }
    let story = |mode: &str| STORIES.iter().find(|story| story.mode == mode).expect("a story");
    let runs: Vec<Run> = SHORT.iter().map(|(mode, jdk)| Run::of_story(story(mode), *jdk)).collect();
    let rows = judged(&runs, SHORT_SIDE_BY_SIDE, |run| Some(run.judge(SECONDS)));
    let wrong: Vec<String> = rows.iter().filter(|row| !row.is_right()).map(Row::describe).collect();
    assert!(rows.len() == runs.len() && wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Collectors on which programs run.
const COLLECTORS: [&str; 5] = ["Serial", "Parallel", "G1", "Shenandoah", "ZGC"];
/// JDKs on which programs run.
const PROGRAM_JDKS: [u32; 5] = [11, 17, 21, 25, 27];

#[test]
fn the_plan_covers_every_collector_and_jdk() {
    let runs = Run::all();
    assert!(runs.len() >= 150, "{} runs", runs.len());
    let ids: BTreeSet<String> = runs.iter().map(|run| run.subject.id()).collect();
    assert_eq!(ids.len(), runs.len(), "a run stands there twice");
    for program in programs() {
        assert!(program.on.len() >= 3, "{} runs on {:?} alone", program.name, program.on);
        let pairs = program.on.iter().map(|pair| pair.split_once(' ').expect("a JDK and a collector"));
        for (jdk, collector) in pairs {
            let jdk = jdk.parse().expect("a version");
            let is_known = PROGRAM_JDKS.contains(&jdk) && COLLECTORS.contains(&collector);
            // JDK 11 has a ZGC that is no part of most builds.
            assert!(is_known && (jdk, collector) != (11, "ZGC"), "{} on {jdk} {collector}", program.name);
        }
    }
    let count = |holds: &dyn Fn(&Subject) -> bool| {
        let held = runs.iter().filter(|run| run.subject.set == "libraries" && holds(&run.subject));
        held.map(|run| &run.subject.name).collect::<BTreeSet<_>>().len()
    };
    for collector in COLLECTORS {
        assert!(count(&|subject| subject.collector == collector) >= 4, "{collector}");
    }
    for jdk in PROGRAM_JDKS {
        assert!(count(&|subject| subject.jdk == jdk) >= 4, "{jdk}");
    }
    let programs = programs().iter().filter(|program| !program.is_case);
    let (healthy, ill): (Vec<_>, Vec<_>) =
        programs.partition(|program| program.truth()["category"].is_null());
    assert!(healthy.len() + ill.len() >= 12, "{} programs", healthy.len() + ill.len());
    assert!(healthy.len() * 3 >= healthy.len() + ill.len(), "{} decoys, {} others", healthy.len(), ill.len());
}

/// Judges so many of the runs at a time. A run that panics is a row that says why.
fn judged(runs: &[Run], side_by_side: usize, judge: impl Fn(&Run) -> Option<Row> + Sync) -> Vec<Row> {
    let next = AtomicUsize::new(0);
    let rows = Mutex::new(Vec::new());
    let work = || {
        while let Some(run) = runs.get(next.fetch_add(1, Ordering::Relaxed)) {
            let judged = catch_unwind(AssertUnwindSafe(|| judge(run)));
            let row = judged.unwrap_or_else(|panic| {
                let why = panic.downcast_ref::<String>().cloned().unwrap_or_default();
                Some(Row::failed(&run.subject, &run.truth(), why))
            });
            let Some(row) = row else { continue };
            let mut rows = rows.lock().unwrap_or_else(PoisonError::into_inner);
            rows.push(row);
            println!("{}/{} {}", rows.len(), runs.len(), rows.last().map_or_else(String::new, Row::describe));
        }
    };
    thread::scope(|scope| {
        for _ in 0..side_by_side {
            scope.spawn(work);
        }
    });
    rows.into_inner().unwrap_or_else(PoisonError::into_inner)
}

#[test]
fn all_stories_on_all_jdks() {
    if !std::env::var("TRACER_ALL_VERDICTS").is_ok_and(|value| value == "1") {
        return;
    }
    let again = std::env::var_os("TRACER_JUDGE_AGAIN").map(PathBuf::from);
    // A story that is recorded already needs no root to be judged.
    let turn = again.is_none().then(common::privileged);
    if matches!(turn, Some(None)) {
        return;
    }
    let list = |name: &str| -> Option<Vec<String>> {
        let text = std::env::var(name).ok()?;
        Some(text.split(',').map(str::to_owned).collect())
    };
    let wanted =
        |name: &str, value: &str| list(name).is_none_or(|list| list.iter().any(|wanted| wanted == value));
    let is_wanted = |run: &Run| {
        let Subject { set, name, jdk, collector, .. } = &run.subject;
        wanted("TRACER_VERDICT_SETS", set)
            && wanted("TRACER_VERDICT_STORIES", name)
            && wanted("TRACER_VERDICT_JDKS", &jdk.to_string())
            && wanted("TRACER_VERDICT_COLLECTORS", collector)
    };
    let seconds = std::env::var("TRACER_VERDICT_SECONDS").unwrap_or_else(|_| SECONDS.to_owned());
    let side_by_side = std::env::var("TRACER_VERDICT_SIDE_BY_SIDE");
    let side_by_side = side_by_side.ok().and_then(|count| count.parse().ok()).unwrap_or(SIDE_BY_SIDE);
    let runs: Vec<Run> = Run::all().into_iter().filter(is_wanted).collect();
    let rows = judged(&runs, side_by_side, |run| match &again {
        Some(folder) => run.judge_again(folder),
        None => Some(run.judge(&seconds)),
    });
    let score = Score::of(rows);
    println!("\n{}", score.describe());
    let all = serde_json::to_string_pretty(&score.json()).expect("JSON");
    fs::write(target_folder().join("verdicts.json"), all).expect("write the results");
    assert!(
        score.is_enough(),
        "precision and recall are at least 98 %, of all and of each set of 100 runs or more"
    );
}
