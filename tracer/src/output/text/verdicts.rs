//! Verdicts in words: what was found, why, and what to do.

use std::io::{self, Write};

use super::{Style, clean};
use crate::output::answer::screen::wrapped;
use crate::profile::{Profile, Site, Verdict};

/// The verdict of a site; `whole`: in full, even where there is nothing to do. Advice of its category's verdict
/// is not said again.
pub(super) fn of_site(
    profile: &Profile,
    site: &Site,
    whole: bool,
    style: Style,
    out: &mut dyn Write,
) -> io::Result<()> {
    let Some(verdict) = &site.verdict else { return Ok(()) };
    let kind = verdict.kind.as_str();
    let text = format!("{kind}: {}", clean(&verdict.evidence.to_string()));
    match (verdict.kind.is_finding(), whole) {
        (false, false) => return Ok(()),
        (true, false) => {
            return lines(&text, style.width.saturating_sub(5))
                .iter()
                .try_for_each(|line| writeln!(out, "     {}", style.warn(line)));
        }
        (false, true) => return paragraph(&text, 5, style, out),
        (true, true) => paragraph(&text, 5, style.plain(), out)?,
    }
    let told = profile.categories.iter().filter_map(|row| row.verdict.as_ref());
    if told.filter(|other| other.kind.is_finding()).any(|other| other.advice == verdict.advice) {
        return Ok(());
    }
    advice(verdict, 5, style, out)
}

fn advice(verdict: &Verdict, indent: usize, style: Style, out: &mut dyn Write) -> io::Result<()> {
    if verdict.advice == "nothing" {
        return Ok(());
    }
    paragraph(&format!("→ {}", clean(&verdict.advice)), indent, style, out)
}

/// Text in lines that fit.
pub(in crate::output) fn paragraph(
    text: &str,
    indent: usize,
    style: Style,
    out: &mut dyn Write,
) -> io::Result<()> {
    for line in lines(text, style.width.saturating_sub(indent)) {
        writeln!(out, "{:indent$}{}", "", style.dim(&line))?;
    }
    Ok(())
}

/// Text in lines of at most so many columns.
pub(in crate::output) fn lines(text: &str, width: usize) -> Vec<String> {
    wrapped(text, width)
}
