//! The first screen fits, whatever the names are, and says what the profile says.

use unicode_width::UnicodeWidthStr;

use super::*;
use crate::attribute::Rules;
use crate::output::units;
use crate::recording::{self, fixture};

fn profile() -> Profile {
    let (_folder, path) = fixture::finished();
    Profile::build(&recording::read(&path).expect("read"), &Rules::builtin())
}

fn rendered(profile: &Profile, options: &Options) -> String {
    let mut out = Vec::new();
    render(profile, options, &mut out).expect("render");
    below(profile, options, &mut out).expect("render");
    String::from_utf8(out).expect("UTF-8")
}

#[test]
fn no_line_is_wider_than_the_screen() {
    let wide = "漢字".repeat(75);
    let long = format!("com.acme.{}.{}", "Klasse".repeat(40), "m".repeat(60));
    let blanks = "a b ".repeat(75);
    for name in [long, format!("com.{wide}.{wide}"), blanks, String::new()] {
        let mut profile = profile();
        profile.target.comm = name.clone();
        profile.target.command = vec!["java".to_owned(), name.clone()];
        profile.quality.notes = vec![name.clone()];
        for row in &mut profile.by_line {
            row.category = name.clone();
            if let Some(line) = &mut row.line {
                line.function = name.clone();
            }
        }
        for row in &mut profile.threads.names {
            row.pattern = name.clone();
        }
        for row in &mut profile.categories {
            (row.id, row.name) = (name.clone(), name.clone());
        }
        for width in [40, 80, 120, 200] {
            let options = Options { width, file: Some("tracer-java.4711.trec".into()), ..Options::default() };
            for line in rendered(&profile, &options).lines() {
                assert!(line.width() <= width, "{width} columns: {line}");
            }
        }
    }
}

#[test]
fn names_keep_their_class_method_and_line() {
    let mut profile = profile();
    let function = "com.acme.platform.ergonomics.of.very.long.packages.InvoiceFacade.reconcile";
    for line in profile.by_line.iter_mut().filter_map(|row| row.line.as_mut()) {
        (line.function, line.line) = (function.to_owned(), Some(16));
    }
    let text = rendered(&profile, &Options::default());
    assert!(text.contains(" c.a.p.e.o.v.l.p.InvoiceFacade.reconcile:16 "), "{text}");
    let text = rendered(&profile, &Options { width: 40, ..Options::default() });
    assert!(text.contains("InvoiceFacade.reconcile:16"), "{text}");
}

#[test]
fn the_first_screen_has_the_totals() {
    let profile = profile();
    let text = rendered(&profile, &Options::default());
    let totals = &profile.totals;
    let expected = format!(
        "{} not freed of {} allocated",
        units::bytes(totals.live_bytes),
        units::bytes(totals.allocated_bytes)
    );
    assert!(text.lines().take(3).any(|line| line.ends_with(&expected)), "{text}");
}

#[test]
fn nothing_acts_on_the_terminal() {
    let mut profile = profile();
    let evil = "e\u{1b}]0;v\u{7}il\u{202e}";
    profile.target.command = vec!["java".to_owned(), evil.to_owned()];
    for row in &mut profile.by_line {
        row.category = evil.to_owned();
        row.kind = Some(evil.to_owned());
        if let Some(line) = &mut row.line {
            line.function = evil.to_owned();
        }
    }
    let text = rendered(&profile, &Options { file: Some(evil.into()), ..Options::default() });
    assert!(!text.contains(['\u{1b}', '\u{7}', '\u{202e}']), "{text}");
}
