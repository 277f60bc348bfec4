//! Differences for people: changed rows alone, the largest growth first.

mod parts;

use std::io::{self, Write};

use unicode_width::UnicodeWidthStr;

use self::parts::size;
use super::by_line;
use crate::census::Finding;
use crate::output::answer::screen::Screen;
use crate::output::style::Style;
use crate::output::text::{census, sites, table, verdicts};
use crate::output::{Options, View, clean, filtered, label, units, with_pid};
use crate::profile::VerdictKind;
use crate::profile::diff::{
    CategoryPair, CensusDiff, Compared, Diff, FactPair, Pair, Side, SitePair, TotalsPair, Verdicts,
};

/// Sites that grew, and that shrank, unless told otherwise.
const GREW: usize = 10;
const SHRANK: usize = 5;
/// Members of a list.
const MEMBERS: usize = 8;

/// Writes what differs.
///
/// # Errors
/// Writing failed.
pub fn render(diff: &Diff, options: &Options, out: &mut dyn Write) -> io::Result<()> {
    let style = Style::new(options.color, options.width);
    heading(diff, style, out)?;
    if diff.is_empty() {
        writeln!(out)?;
        return writeln!(out, "Nothing differs.");
    }
    for source in ["allocator", "mapping"] {
        by_line::rows(diff, source, options, &mut Screen::new(options, out))?;
    }
    if options.category.is_none() {
        parts::memory(&diff.memory, style, out)?;
    }
    if let Some(census) = &diff.census
        && options.category.is_none()
    {
        facts(census, diff.kind == Compared::Recordings, style, out)?;
    }
    for source in ["allocator", "mapping"] {
        categories(diff, source, options.view, style, out)?;
    }
    if options.verbose || options.all {
        for source in ["allocator", "mapping"] {
            all_sites(diff, source, options, style, out)?;
        }
    }
    if options.category.is_none() {
        parts::threads(diff.threads.as_ref(), style, out)?;
        parts::code(diff.code_cache.as_ref(), style, out)?;
    }
    Ok(())
}

fn heading(diff: &Diff, style: Style, out: &mut dyn Write) -> io::Result<()> {
    for (name, side) in [("base", &diff.base), ("new ", &diff.new)] {
        let file = side.file.as_deref().map(|file| clean(file).into_owned()).unwrap_or_default();
        let first = format!("{name}  {file}");
        if first.width() + 2 + describe(side).width() <= style.width {
            writeln!(out, "{}  {}", style.bold(&first), describe(side))?;
            continue;
        }
        table::write_title(&first, style, out)?;
        verdicts::paragraph(&describe(side), 6, style.plain(), out)?;
    }
    for (filtered, name) in diff.filtered.iter().flat_map(|pair| [(&pair.base, "base"), (&pair.new, "new")]) {
        let sentences = filtered::describe(filtered).join(" ");
        if !sentences.is_empty() {
            verdicts::paragraph(&format!("{name}: {sentences}"), 0, style.plain(), out)?;
        }
    }
    for note in &diff.notes {
        verdicts::paragraph(&format!("note: {}", clean(note)), 0, style.plain(), out)?;
    }
    Ok(())
}

/// Process and time of a side.
fn describe(side: &Side) -> String {
    let target = &side.target;
    let mut text = with_pid(target);
    if let Some(version) = target.jvm.as_ref().and_then(|jvm| jvm.version.as_deref()) {
        text += &format!(", JVM {}", clean(version));
    }
    if let Some(session) = &side.session {
        text += &format!(", {} from {}", units::duration(session.duration_ns), clean(&session.started));
    }
    text
}

fn facts(diff: &CensusDiff, of_recordings: bool, style: Style, out: &mut dyn Write) -> io::Result<()> {
    let mut members = 0;
    let is_shown = |fact: &&FactPair| {
        members = if fact.id.contains('/') { members + usize::from(fact.differs()) } else { 0 };
        fact.differs() && members <= MEMBERS
    };
    let shown: Vec<&FactPair> = diff.facts.iter().filter(is_shown).collect();
    if shown.is_empty() && diff.new_findings.is_empty() && diff.gone_findings.is_empty() {
        return Ok(());
    }
    writeln!(out)?;
    let when = if of_recordings { ", at the end of each session" } else { "" };
    table::write_title(&format!("What malloc's chunks and the JVM's statistics say{when}"), style, out)?;
    let finding = |finding: &Finding, mark: &str| {
        let held = finding.bytes.map(|bytes| format!("{}: ", units::bytes(bytes))).unwrap_or_default();
        verdicts::lines(&format!("{mark}: {held}{}", clean(&finding.evidence)), style.width.saturating_sub(4))
            .join("\n    ")
    };
    for row in &diff.new_findings {
        writeln!(out, "  {}", style.warn(&finding(row, "new")))?;
    }
    for row in &diff.gone_findings {
        writeln!(out, "  {}", finding(row, "gone"))?;
    }
    census::rows(&shown, ["base", "new"], style, out)
}

fn categories(diff: &Diff, source: &str, view: View, style: Style, out: &mut dyn Write) -> io::Result<()> {
    let in_view = |totals: &TotalsPair| view.bytes(&totals.base) != view.bytes(&totals.new);
    let rows: Vec<&CategoryPair> = diff
        .categories
        .iter()
        .filter(|row| row.source == source && (in_view(&row.totals) || row.verdict.changed().is_some()))
        .collect();
    if rows.is_empty() {
        return Ok(());
    }
    let of = if source == "mapping" { "Mapped" } else { "Allocated" };
    writeln!(out)?;
    // Bytes of sessions of one length are compared as they are, others by what they are in a second.
    let by_time = diff.has_other_length();
    let average = if by_time { " (/s: on average)" } else { "" };
    table::write_title(&format!("{of} in the sessions, by category: {}{average}", what(view)), style, out)?;
    let heads = ["category", "base", "new", "change", "count", "base/s", "new/s", "change/s", "verdict"];
    let shown = |at: usize| if by_time { !(3..5).contains(&at) } else { !(5..8).contains(&at) };
    let heads = heads.into_iter().enumerate().filter(|(at, _)| shown(*at));
    let heads: Vec<&str> = heads.map(|(_, head)| head).collect();
    let mut lines = table::new(&heads, 1..heads.len() - 1);
    let mut add = |name: &str, totals: &TotalsPair, rate: Pair, verdict: &Verdicts| {
        let pair = Pair::new(Some(view.bytes(&totals.base)), Some(view.bytes(&totals.new)));
        let counts = Pair::new(Some(view.count(&totals.base)), Some(view.count(&totals.new)));
        let per_s = |rate: Option<u64>| rate.map(units::bytes).unwrap_or_default();
        let cells = [
            label::fit(&clean(name), if by_time { 22 } else { 34 }).into_owned(),
            size(pair.base),
            size(pair.new),
            census::more(pair, units::bytes_more),
            census::more(counts, units::count_more),
            per_s(rate.base),
            per_s(rate.new),
            census::more(rate, units::bytes_more),
            verdict_text(verdict),
        ];
        lines.add_row(cells.into_iter().enumerate().filter(|(at, _)| shown(*at)).map(|(_, cell)| cell));
    };
    for row in &rows {
        add(&row.id, &row.totals, row.rates.in_view(view), &row.verdict);
    }
    let total = diff.totals.as_ref().zip(diff.rates.as_ref()).filter(|_| source == "allocator");
    if let Some((totals, rates)) = total {
        add("total", totals, rates.in_view(view), &Verdicts::default());
    }
    table::write_lines(&lines, style, total.is_some(), out)
}

fn what(view: View) -> &'static str {
    match view {
        View::Live => "live bytes",
        View::Leaks => "live bytes of what leaks or waits for a collection",
        View::Allocated => "all bytes",
        View::Temporary => "bytes that were freed again",
        View::Peak => "live bytes at each one's peak",
    }
}

/// `steady → leak`; one word where both say the same.
fn verdict_text(verdict: &Verdicts) -> String {
    match (verdict.changed(), verdict.base.or(verdict.new)) {
        (Some((base, new)), _) => format!("{} → {}", base.as_str(), new.as_str()),
        (None, kind) => kind.map(VerdictKind::as_str).unwrap_or_default().to_owned(),
    }
}

fn all_sites(
    diff: &Diff,
    source: &str,
    options: &Options,
    style: Style,
    out: &mut dyn Write,
) -> io::Result<()> {
    let growth = |site: &&SitePair| options.view.growth(&site.totals.difference);
    let of_source: Vec<&SitePair> = diff.sites.iter().filter(|site| site.source == source).collect();
    let grew: Vec<&SitePair> = of_source.iter().copied().filter(|site| growth(site) > 0).collect();
    let shrank: Vec<&SitePair> = of_source.iter().rev().copied().filter(|site| growth(site) < 0).collect();
    let of = if source == "mapping" { "Sites of mappings" } else { "Sites" };
    for (sites, verb, most) in [(grew, "grew", GREW), (shrank, "shrank", SHRANK)] {
        let most = options.top.unwrap_or(most);
        if sites.is_empty() || most == 0 {
            continue;
        }
        let sum = sites.iter().map(|site| growth(site).unsigned_abs()).fold(0, u64::saturating_add);
        // A change below a hundredth of all is noise, unless it was asked for.
        let is_small = |site: &&SitePair| growth(site).unsigned_abs() < sum / 100 && options.top.is_none();
        let large = sites.iter().position(is_small).unwrap_or(sites.len()).max(1);
        let shown = large.min(most);
        let number = if shown == sites.len() {
            units::count(shown as u64)
        } else {
            format!("{} of {}", units::count(shown as u64), units::count(sites.len() as u64))
        };
        writeln!(out)?;
        table::write_title(&format!("{of} that {verb} most ({number})"), style, out)?;
        for (at, site) in sites.iter().take(shown).enumerate() {
            let title = site_title(site, options.view, diff.has_other_length(), style);
            writeln!(out, "{:>3}. {title}", at + 1)?;
            sites::way((*site).into(), style, out)?;
            if verb == "grew" {
                sites::stack((*site).into(), options.verbose, style, out)?;
            }
        }
    }
    Ok(())
}

/// The quantity of the site that changed, and by how much.
fn site_title(site: &SitePair, view: View, by_time: bool, style: Style) -> String {
    let totals = &site.totals;
    let kind = site.kind.as_deref().map(|kind| format!(" ({})", clean(kind))).unwrap_or_default();
    let category = style.bold(&format!("{}{kind}", clean(&site.category)));
    let change = units::bytes_more(view.growth(&totals.difference));
    let [base, new] = [&totals.base, &totals.new].map(|totals| units::bytes(view.bytes(totals)));
    let rate = site.rates.in_view(view);
    let rates = match (rate.base, rate.new) {
        (Some(base), Some(new)) if by_time => {
            format!("; {}/s → {}/s", units::bytes(base), units::bytes(new))
        }
        _ => String::new(),
    };
    let verdict = verdict_text(&site.verdict);
    let verdict = if verdict.is_empty() { verdict } else { format!(", {verdict}") };
    format!("{category}  {change} ({base} → {new}{rates}){verdict}")
}
