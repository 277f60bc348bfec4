//! The command as a person meets it: formats, errors, exit statuses, files.

use std::fs;

use clap::Parser;

use super::*;
use crate::recording::fixture;

#[derive(Parser)]
struct Line {
    #[command(flatten)]
    args: Args,
}

/// Runs `report FILE ARGS` to a string.
fn report(file: &Path, args: &[&str]) -> Result<String, Failure> {
    let file = file.to_str().expect("path");
    let line =
        Line::try_parse_from(["report", file].into_iter().chain(args.iter().copied())).expect("arguments");
    let mut out = Vec::new();
    let code = run_to(&line.args, &mut out, false)?;
    assert_eq!(code, status::DONE);
    Ok(String::from_utf8(out).expect("UTF-8"))
}

#[test]
fn every_format_goes_to_stdout() {
    let (_folder, path) = fixture::finished();
    for (format, begins) in [
        ("text", "com.acme.Feed (pid 4711)"),
        ("json", "{\"schema\":\"tracer.report/2\""),
        ("folded", "start_thread;"),
        ("flamegraph", "<?xml"),
    ] {
        let text = report(&path, &["--format", format]).expect(format);
        assert!(text.starts_with(begins), "{format}: {text}");
    }
    assert!(report(&path, &[]).expect("text").contains("com.acme.Feed.open"));
}

#[test]
fn unknown_categories_are_answered_with_the_known() {
    let (_folder, path) = fixture::finished();
    let failure = report(&path, &["--category", "zib"]).expect_err("refused");
    assert_eq!(failure.status, status::USAGE);
    let help = failure.help.expect("help");
    let known = "direct-buffer, zlib, native:libacme.so, compiler, thread-stack, allocator";
    assert_eq!(help, format!("the categories are: {known}"));
    assert!(
        report(&path, &["--category", "zlib", "--format", "folded"]).expect("folded").lines().count() == 1
    );
}

#[test]
fn flags_that_would_do_nothing_are_refused() {
    let (_folder, path) = fixture::finished();
    for (args, word) in [
        (&["--pretty"][..], "--pretty is of JSON"),
        (&["--format", "html", "--pretty"], "--pretty is of JSON"),
        (&["--inverted"], "--inverted is of folded stacks"),
        (&["--source", "mapping"], "--source is of stacks"),
        (&["--from", "5", "--until", "2"], "--from is not before --to"),
    ] {
        let failure = report(&path, args).expect_err(word);
        assert_eq!(failure.status, status::USAGE);
        assert!(failure.error.starts_with(word) && failure.help.is_some(), "{failure}");
    }
    let ranges =
        ["--to", "--until"].map(|flag| report(&path, &["--from", "2", flag, "5", "--format", "folded"]));
    let [to, until] = ranges.map(|text| text.expect("a range"));
    assert_eq!(to, until);
}

#[test]
fn limits_and_losses_have_their_status() {
    let (_folder, path) = fixture::finished();
    assert_eq!(report(&path, &["--fail-over", "1M"]).expect_err("over").status, status::OVER);
    report(&path, &["--fail-over", "1G"]).expect("under");
    report(&path, &["--fail-over", "3M", "--category", "zlib"]).expect("under");
    assert_eq!(
        report(&path, &["--fail-over", "2M", "--category", "zlib"]).expect_err("over").status,
        status::OVER
    );
    // The sample lost two calls.
    assert_eq!(report(&path, &["--strict"]).expect_err("lost").status, status::INCOMPLETE);
    assert!(Line::try_parse_from(["report", "x", "--fail-over", "lots"]).is_err());
}

#[test]
fn an_unfinished_recording_is_shown_and_not_whole() {
    let (_folder, path) = fixture::folder();
    drop(fixture::write(&path));
    assert!(report(&path, &[]).expect("text").contains("Not finished"));
    assert_eq!(report(&path, &["--strict"]).expect_err("strict").status, status::INCOMPLETE);
}

#[test]
fn files_are_written_whole_and_never_over_another() {
    let (folder, path) = fixture::finished();
    let out = folder.path().join("out.svg");
    let to = out.to_str().expect("path");
    assert_eq!(report(&path, &["-o", to]).expect("written"), "");
    assert!(fs::read_to_string(&out).expect("file").starts_with("<?xml"));
    let failure = report(&path, &["-o", to]).expect_err("exists");
    assert!(failure.error.contains("exists already"), "{failure}");
    report(&path, &["-o", to, "--force", "--format", "json"]).expect("forced");
    assert!(fs::read_to_string(&out).expect("file").starts_with('{'));
    // Nothing to draw is a picture that says so.
    report(&path, &["-o", to, "--force", "--format", "flamegraph", "--category", "compiler"])
        .expect("an empty picture");
    assert!(fs::read_to_string(&out).expect("file").contains("nothing to draw"));
    // Refused: the old file stays, and no other is left.
    report(&path, &["-o", to, "--force", "--category", "no such"]).expect_err("refused");
    assert!(fs::read_to_string(&out).expect("file").contains("nothing to draw"));
    assert_eq!(fs::read_dir(folder.path()).expect("folder").count(), 2);
    report(&path, &["-o", "/dev/null", "--format", "json"]).expect("a device is written to");
    assert!(!fs::metadata("/dev/null").expect("device").is_file());
    let failure = report(&path, &["-o", "/no/such/folder/x"]).expect_err("folder");
    assert_eq!(failure.status, status::FAILED);
    assert!(failure.help.is_some());
}

#[test]
fn a_terminal_gets_no_picture() {
    let (_folder, path) = fixture::finished();
    let line = Line::try_parse_from(["report", path.to_str().expect("path"), "--format", "flamegraph"])
        .expect("arguments");
    assert_eq!(run_to(&line.args, &mut Vec::new(), true).expect_err("refused").status, status::USAGE);
}

#[test]
fn files_that_are_no_recordings_are_explained() {
    let (folder, _) = fixture::folder();
    let text = folder.path().join("notes.txt");
    fs::write(&text, "not a recording").expect("write");
    for file in [text.as_path(), Path::new("/no/such.trec"), folder.path()] {
        let failure = report(file, &[]).expect_err("refused");
        assert_eq!(failure.status, status::FAILED);
        assert!(failure.error.contains(file.to_str().expect("path")), "{failure}");
        assert!(failure.help.is_some());
    }
}

#[test]
fn rules_of_ones_own_come_first() {
    let (folder, path) = fixture::finished();
    let rules = folder.path().join("rules.toml");
    let text = "[[rule]]\nid = \"feed\"\ncategory = \"feed\"\n\
                any = [{ function = [\"com.acme.Feed.*\"], frame = \"java\" }]\n";
    fs::write(&rules, text).expect("write");
    let rules = rules.to_str().expect("path");
    let shown =
        report(&path, &["--rules", rules, "--category", "feed", "--format", "folded"]).expect("folded");
    assert!(shown.contains("inflateInit2_"), "{shown}");
    fs::write(rules, "[[rule]]\nid = 3").expect("write");
    assert_eq!(report(&path, &["--rules", rules]).expect_err("refused").status, status::FAILED);
}

struct Closed;

impl Write for Closed {
    fn write(&mut self, _: &[u8]) -> io::Result<usize> {
        Err(io::ErrorKind::BrokenPipe.into())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn a_reader_that_has_gone_is_no_error() {
    let (_folder, path) = fixture::finished();
    for format in ["text", "json", "folded", "flamegraph"] {
        let line = Line::try_parse_from(["report", path.to_str().expect("path"), "--format", format])
            .expect("arguments");
        assert_eq!(run_to(&line.args, &mut Closed, false).expect(format), status::DONE);
    }
}
