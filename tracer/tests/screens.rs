//! The first screens in `docs/first-screens.md` are what `tracer report` prints of the kept recordings.
//! `TRACER_WRITE_SCREENS=1 cargo test -p tracer --test screens` writes that page.

mod common;

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use common::kept::unpacked;
use common::recorder::tracer;

/// A recording, and what it shows.
const SCREENS: [(&str, &str); 8] = [
    ("leak", "One that leaks: streams that nobody closes, through two full collections"),
    ("jdk25", "Class loaders that stay, on JDK 25"),
    ("healthy", "A healthy one: a pool of direct buffers that was filled once"),
    ("late-attach", "One that leaked before: attached to when all was there already"),
    ("light", "`--probes light`: malloc is not watched; streams are dropped and wait for a collection"),
    ("sampled", "Sampled: every number is an estimate, with its error"),
    ("killed", "The recorder was killed"),
    ("c-program", "A program without a JVM"),
];

#[test]
fn the_page_of_first_screens_is_true() {
    let mut page = "# First screens\n\nWhat `tracer report FILE` prints first, of small recordings that the tests keep. \
                    This page is made by\n`TRACER_WRITE_SCREENS=1 cargo test -p tracer --test screens`.\n"
        .to_owned();
    for (name, what) in SCREENS {
        let (folder, _file) = unpacked(name);
        let output = tracer()
            .current_dir(folder.path())
            .args(["report", &format!("{name}.trec")])
            .output()
            .expect("run tracer");
        assert!(output.status.success(), "{name}: {}", String::from_utf8_lossy(&output.stderr));
        let text = String::from_utf8(output.stdout).expect("UTF-8");
        assert!(text.lines().all(|line| line.chars().count() <= 80), "{name} fits 80 columns:\n{text}");
        // Up to the next commands: what follows is below the first screen.
        let next = text.find("\nNext: ").expect("next commands");
        let end = text[next + 1..].find("\n\n").map_or(text.len(), |end| next + 1 + end);
        assert!(text[..end].lines().count() <= 40, "{name} is a screen:\n{}", &text[..end]);
        let _ = write!(page, "\n## {what}\n\n```\n{}\n```\n", text[..end].trim_end());
    }
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/first-screens.md");
    if std::env::var_os("TRACER_WRITE_SCREENS").is_some() {
        fs::write(&file, page).expect("write the page");
        return;
    }
    let kept = fs::read_to_string(&file).expect("docs/first-screens.md");
    assert_eq!(kept, page, "TRACER_WRITE_SCREENS=1 cargo test -p tracer --test screens writes it");
}
