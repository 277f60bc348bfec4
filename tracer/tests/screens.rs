//! First screens: those in `docs/first-screens.md` are what `tracer report` prints of the kept recordings, and each
//! command that they name works. `TRACER_WRITE_SCREENS=1 cargo test -p tracer --test screens` writes that page.

mod common;

use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::process::Command;

use common::earlier_recordings::unpacked;
use common::recorder::tracer;
use unicode_width::UnicodeWidthStr as _;

/// A recording, what it shows, and what must stand in its first lines.
const SCREENS: [(&str, &str, &str); 11] = [
    ("tomcat", "Tomcat under load: not our program, and healthy", "NO LEAK FOUND"),
    ("pyspark", "PySpark, sampled: a JVM that Python started, which joins and sums up", "org.apache.spark"),
    ("late-attach", "One that leaked before: attached to when all was there already", "100 direct buffers"),
    ("limit", "One at its limit: direct buffers are full", "LIMIT  direct buffers: 64.0 MiB of 64.0 MiB"),
    ("healthy", "A healthy one: a pool of direct buffers that was filled once", "NO LEAK FOUND"),
    ("sampled", "Sampled: every number is an estimate, with its error", "sampled, one allocation in about"),
    (
        "light",
        "`--probes light`: malloc is not watched; streams are dropped and wait for a collection",
        "Zip.parse:67",
    ),
    ("c-program", "A program without a JVM", "cross_thread.c:22"),
    ("leak", "One that leaks: streams that nobody closes, through two full collections", "Zip.openFeed:36"),
    ("jdk25", "Class loaders that stay, on JDK 25", "Classes$Loader.copy:41"),
    ("killed", "The recorder was killed", "the recorder was killed"),
];
/// Lines of a screen that has the answer; a few more where there are many findings.
const LINES: usize = 40;

/// Output of `tracer report` for a kept recording, in its own folder.
fn report(folder: &Path, name: &str) -> String {
    let output =
        tracer().current_dir(folder).args(["report", &format!("{name}.trec")]).output().expect("run tracer");
    assert!(output.status.success(), "{name}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("UTF-8")
}

/// Lines up to the next commands: what follows is below the first screen.
fn first_screen(text: &str) -> &str {
    let next = text.find("\nNext: ").expect("next commands") + 1;
    let end = text[next..].find("\n\n").map_or(text.len(), |end| next + end);
    text[..end].trim_end()
}

#[test]
fn the_page_of_first_screens_is_true() {
    let mut page = "# First screens\n\nThe first screen that `tracer report FILE` prints, of small recordings that the \
                    tests keep\n(`tracer/tests/fixtures/recordings`). This page is made by `TRACER_WRITE_SCREENS=1 \
                    cargo test -p tracer --test screens`.\n"
        .to_owned();
    for (name, what, answer) in SCREENS {
        let (folder, _file) = unpacked(name);
        let text = report(folder.path(), name);
        assert!(text.lines().all(|line| line.width() <= 80), "{name} fits 80 columns:\n{text}");
        let screen = first_screen(&text);
        assert!(screen.lines().count() <= LINES, "{name} is a screen:\n{screen}");
        assert!(screen.contains(answer), "{name} says `{answer}`:\n{screen}");
        let _ = write!(page, "\n## {what}\n\n```\n{screen}\n```\n");
    }
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/first-screens.md");
    if std::env::var_os("TRACER_WRITE_SCREENS").is_some() {
        fs::write(&file, page).expect("write the page");
        return;
    }
    let kept = fs::read_to_string(&file).expect("docs/first-screens.md");
    assert_eq!(kept, page, "TRACER_WRITE_SCREENS=1 cargo test -p tracer --test screens writes it");
}

#[test]
fn the_next_commands_work() {
    let program = tracer().get_program().to_owned();
    let bin = Path::new(&program).parent().expect("a folder");
    let path = format!("{}:{}", bin.display(), std::env::var("PATH").unwrap_or_default());
    for (name, ..) in SCREENS {
        let (folder, file) = unpacked(name);
        // A name that a shell would take apart.
        for ending in ["trec", "trec-wal"] {
            let from = file.with_extension(ending);
            if from.exists() {
                fs::rename(from, folder.path().join(format!("it's a $recording.{ending}"))).expect("rename");
            }
        }
        let text = report(folder.path(), "it's a $recording");
        let screen = first_screen(&text);
        let next = &screen[screen.find("\nNext: ").expect("next commands")..];
        let commands: Vec<&str> = next
            .lines()
            .map(|line| line.trim_start_matches("Next:").trim())
            .filter(|line| line.starts_with("tracer "))
            // The process of a kept recording is gone.
            .filter(|line| !line.contains(" -p "))
            .map(|line| line.split_once("   ").map_or(line, |(command, _)| command))
            .collect();
        assert!(commands.len() >= 2, "{name}: {next}");
        for command in commands {
            let output = Command::new("sh")
                .args(["-c", command])
                .current_dir(folder.path())
                .env("PATH", &path)
                .output()
                .expect("run a shell");
            assert!(output.status.success(), "{command}: {}", String::from_utf8_lossy(&output.stderr));
        }
    }
}
