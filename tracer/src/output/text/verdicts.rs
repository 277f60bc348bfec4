//! Verdicts in words: what was found, why, and what to do.

use std::io::{self, Write};

use super::{Style, WIDTH, clean};
use crate::profile::{Category, Kind, OwnerShare, Profile, RowName, Site, Verdict};

/// Owners named for a category at most.
const OWNERS: usize = 3;

/// The categories in which somebody must do something, if there are any.
pub(super) fn of_categories(profile: &Profile, style: Style, out: &mut dyn Write) -> io::Result<()> {
    let verdicts = profile.categories.iter().filter_map(|row| Some((row, row.verdict.as_ref()?)));
    let is_short =
        verdicts.clone().next().is_some() && verdicts.clone().all(|(_, it)| it.kind == Kind::TooShort);
    if profile.findings.is_empty() && !is_short {
        return Ok(());
    }
    writeln!(out)?;
    writeln!(out, "{}", style.bold("Verdicts"))?;
    for finding in &profile.findings {
        let Some((first, others)) = finding.rows.split_first() else { continue };
        let Some((row, verdict)) = verdicts.clone().find(|(row, _)| first.is_of(row)) else { continue };
        writeln!(out, "  {}: {}", style.bold(&name(first)), style.warn(verdict.kind.as_str()))?;
        paragraph(&clean(&verdict.evidence), 4, Style { color: false }, out)?;
        owners(row, style, out)?;
        if !others.is_empty() {
            let others: Vec<String> = others.iter().map(name).collect();
            paragraph(&format!("with it grow: {}", others.join(", ")), 4, style, out)?;
        }
        advice(verdict, 4, style, out)?;
    }
    if let Some((_, verdict)) = verdicts.clone().next()
        && is_short
    {
        reasons(verdict, 2, style, out)?;
    }
    Ok(())
}

/// A row as it is called.
fn name(row: &RowName) -> String {
    format!("{}{}", clean(&row.category), if row.source == "mapping" { " (mapped)" } else { "" })
}

/// Whose it is.
fn owners(category: &Category, style: Style, out: &mut dyn Write) -> io::Result<()> {
    if category.owners.is_empty() {
        return Ok(());
    }
    let of = match category.id.as_str() {
        "code-cache" => " of the code is of classes made for them",
        "metaspace" => " of what defining classes allocated",
        _ => "",
    };
    let owner = |owner: &OwnerShare| format!("{} {:.0} %", clean(&owner.function), owner.share * 100.0);
    let owners: Vec<String> = category.owners.iter().take(OWNERS).map(owner).collect();
    paragraph(&format!("owners: {}{of}", owners.join(", ")), 4, style, out)
}

/// The verdict of a site; `whole`: in full, even where there is nothing to do. What its category's
/// verdict advises is not said again.
pub(super) fn of_site(
    profile: &Profile,
    site: &Site,
    whole: bool,
    style: Style,
    out: &mut dyn Write,
) -> io::Result<()> {
    let Some(verdict) = &site.verdict else { return Ok(()) };
    let kind = verdict.kind.as_str();
    let text = format!("{kind}: {}", clean(&verdict.evidence));
    match (verdict.kind.is_finding(), whole) {
        (false, false) => return Ok(()),
        (true, false) => {
            return lines(&text, WIDTH - 5)
                .iter()
                .try_for_each(|line| writeln!(out, "     {}", style.warn(line)));
        }
        (false, true) => return paragraph(&text, 5, style, out),
        (true, true) => paragraph(&text, 5, Style { color: false }, out)?,
    }
    let told = profile.categories.iter().filter_map(|row| row.verdict.as_ref());
    if told.filter(|other| other.kind.is_finding()).any(|other| other.advice == verdict.advice) {
        return Ok(());
    }
    advice(verdict, 5, style, out)
}

fn reasons(verdict: &Verdict, indent: usize, style: Style, out: &mut dyn Write) -> io::Result<()> {
    paragraph(&clean(&verdict.evidence), indent, Style { color: false }, out)?;
    advice(verdict, indent, style, out)
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
    for line in lines(text, WIDTH - indent) {
        writeln!(out, "{:indent$}{}", "", style.dim(&line))?;
    }
    Ok(())
}

/// Text in lines of at most so many characters, if its words are no longer.
pub(in crate::output) fn lines(text: &str, width: usize) -> Vec<String> {
    let mut line = String::new();
    let mut lines = Vec::new();
    for word in text.split(' ') {
        let length = line.chars().count() + 1 + word.chars().count();
        if !line.is_empty() && length > width {
            lines.push(std::mem::take(&mut line));
        }
        if !line.is_empty() {
            line.push(' ');
        }
        line += word;
    }
    lines.push(line);
    lines
}
