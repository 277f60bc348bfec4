//! The command as a person meets it.

use clap::Parser;

use super::*;
use crate::recording::fixture;

#[derive(Parser)]
struct Line {
    #[command(flatten)]
    args: Args,
}

/// Runs `diff BASE NEW ARGS` to a string.
fn diff(base: &Path, new: &Path, args: &[&str]) -> Result<String, Failure> {
    let files = [base, new].map(|file| file.to_str().expect("path"));
    let line = Line::try_parse_from(["diff"].into_iter().chain(files).chain(args.iter().copied()))
        .expect("arguments");
    let mut out = Vec::new();
    assert_eq!(run_to(&line.args, &mut out, false)?, status::DONE);
    Ok(String::from_utf8(out).expect("UTF-8"))
}

/// A recording and two censuses, in one folder.
fn files() -> (tempfile::TempDir, PathBuf, PathBuf, PathBuf) {
    let (folder, recording) = fixture::finished();
    let census = |name: &str, inflaters| {
        let path = folder.path().join(name);
        fs::write(&path, format!("\n {}", fixture::census(inflaters).to_json())).expect("write");
        path
    };
    let (before, after) = (census("before.json", 100), census("after.json", 400));
    (folder, recording, before, after)
}

#[test]
fn every_format_goes_to_stdout() {
    let (folder, recording, before, after) = files();
    for (format, begins) in
        [("text", "base"), ("json", "{\"schema\":\"tracer.diff/2\""), ("folded", "start_thread;")]
    {
        let text = diff(&recording, &recording, &["--format", format]).expect(format);
        assert!(text.starts_with(begins), "{format}: {text}");
    }
    assert!(diff(&recording, &recording, &[]).expect("text").contains("Nothing differs."));
    let text = diff(&before, &after, &[]).expect("text");
    assert!(text.contains("zlib inflate states") && text.contains("+300"), "{text}");
    assert!(diff(&after, &after, &[]).expect("text").contains("Nothing differs."));
    let picture = folder.path().join("diff.svg");
    diff(&recording, &recording, &["-o", picture.to_str().expect("path")]).expect("a picture");
    assert!(fs::read_to_string(&picture).expect("read").contains("<svg"));
}

#[test]
fn what_cannot_be_compared_is_said() {
    let (folder, recording, before, after) = files();
    let file = |name: &str, text: &str| {
        let path = folder.path().join(name);
        fs::write(&path, text).expect("write");
        path
    };
    let report = file("report.json", r#"{"schema": "tracer.report/1"}"#);
    let foreign = file("list.txt", "a shopping list");
    let broken = file("broken.json", "{");
    let empty = file("empty", "");
    let missing = folder.path().join("missing.trec");
    for (base, new, status, word) in [
        (&recording, &before, status::USAGE, "a census"),
        (&after, &recording, status::USAGE, "cannot be compared"),
        (&before, &report, status::FAILED, "tracer.report/1"),
        (&foreign, &recording, status::FAILED, "list.txt"),
        (&before, &foreign, status::FAILED, "list.txt"),
        (&before, &broken, status::FAILED, "broken.json is no census: not JSON"),
        (&empty, &recording, status::FAILED, "empty"),
        (&recording, &missing, status::FAILED, "missing.trec"),
        (&recording, &folder.path().to_owned(), status::FAILED, "not a plain file"),
    ] {
        let failure = diff(base, new, &[]).expect_err(word);
        assert_eq!(failure.status, status, "{failure}");
        assert!(failure.error.contains(word), "{word}: {failure}");
        assert!(failure.help.is_some(), "{failure}");
    }
    for (files, args, word) in [
        ((&recording, &recording), ["--category", "zib"], "the categories are: "),
        ((&before, &after), ["--category", "zlib"], "--category is of stacks"),
        ((&before, &after), ["--format", "folded"], "stacks"),
        ((&before, &after), ["--view", "live"], "--view is of stacks"),
    ] {
        let failure = diff(files.0, files.1, &args).expect_err(word);
        assert_eq!(failure.status, status::USAGE, "{failure}");
        assert!(failure.to_string().contains(word), "{word}: {failure}");
    }
    assert!(Line::try_parse_from(["diff", "one.trec"]).is_err());
}
