//! The sites: leaf → cause → owner, then as much of the stack as helps.

use std::io::{self, Write};

use unicode_width::UnicodeWidthStr;

use super::{Options, Style, View, clean, label, table, units, verdicts};
use crate::output::calls::Calls;
use crate::profile::{Profile, Site, SiteFrame};
use crate::symbolize::FrameKind;

/// Frames shown of a stack, unless all are asked for.
const FRAMES: usize = 10;
/// Frames shown if the owner lies deeper.
const FRAMES_MAX: usize = 20;
/// Threads named for a site, unless all are asked for.
const THREADS: usize = 3;

/// Writes the first sites of a source (and how many), with their stacks if `stacks`.
pub(super) fn sites(
    profile: &Profile,
    options: &Options,
    style: Style,
    (source, top): (&str, usize),
    stacks: bool,
    out: &mut dyn Write,
) -> io::Result<()> {
    let view = options.view;
    let of_source: Vec<&Site> = profile.sites.iter().filter(|site| site.source == source).collect();
    if top == 0 || of_source.is_empty() {
        return Ok(());
    }
    let shown: Vec<&Site> = of_source.into_iter().filter(|site| view.shows(site)).collect();
    let sites = if source == "mapping" { "sites of mappings" } else { "sites" };
    let (freed, allocated) =
        if source == "mapping" { ("unmapped", "mapped") } else { ("freed", "allocated") };
    let what = match view {
        View::Live => "by live bytes".to_owned(),
        View::Peak => "by bytes live at the peak".to_owned(),
        View::Allocated => format!("by {allocated} bytes"),
        View::Leaks => "that leak, wait for a collection, or were seen too short to tell".to_owned(),
        View::Temporary => format!("by bytes {allocated} and {freed} again"),
    };
    writeln!(out)?;
    if shown.is_empty() {
        return writeln!(out, "No {sites} {what}.");
    }
    let sum =
        |sites: &[&Site]| sites.iter().fold(0_u64, |sum, site| sum.saturating_add(view.bytes(&site.totals)));
    let all_bytes = sum(&shown);
    let listed = if options.top.is_some() {
        top
    } else {
        // A site below a thousandth of all is noise, unless it was asked for.
        let small = |site: &&Site| view.bytes(&site.totals) < all_bytes / 1_000;
        top.min(shown.iter().position(small).unwrap_or(top).max(1))
    };
    let rest = shown.get(listed..).unwrap_or_default();
    let number = if rest.is_empty() {
        units::count(shown.len() as u64)
    } else {
        format!("{} of {}", units::count(listed as u64), units::count(shown.len() as u64))
    };
    table::write_title(&format!("Top {sites} {what} ({number})"), style, out)?;
    for (at, site) in shown.iter().take(listed).enumerate() {
        if stacks && at > 0 {
            writeln!(out)?;
        }
        heading(at + 1, site, view, style, out)?;
        way((*site).into(), style, out)?;
        verdicts::of_site(profile, site, stacks, style, out)?;
        if stacks {
            stack((*site).into(), options.verbose, style, out)?;
            threads(site, options.verbose, style, out)?;
        }
    }
    if !rest.is_empty() {
        let number = units::counted(rest.len() as u64, "smaller site");
        let gap = if stacks { "\n" } else { "" };
        writeln!(out, "{gap}  and {number} with {} (--top N shows more)", units::bytes(sum(rest)))?;
    }
    Ok(())
}

fn heading(number: usize, site: &Site, view: View, style: Style, out: &mut dyn Write) -> io::Result<()> {
    let kind = site.kind.as_deref().map(|kind| format!(" ({})", clean(kind))).unwrap_or_default();
    let totals = &site.totals;
    let bytes = units::bytes(view.bytes(totals));
    let (error, count_error) = view.errors(totals);
    let plus_minus = |value, error| match units::plus_minus(value, error) {
        text if text.is_empty() => text,
        text => format!(" {text}"),
    };
    let error = plus_minus(view.bytes(totals), error);
    let count_error = plus_minus(view.count(totals), count_error);
    let mapping = site.source == "mapping";
    let things = units::counted(view.count(totals), if mapping { "mapping" } else { "allocation" });
    let word = match view {
        View::Live | View::Leaks => "live",
        View::Peak => "live at the peak",
        View::Allocated if mapping => "mapped",
        View::Allocated => "allocated",
        View::Temporary if mapping => "mapped and unmapped",
        View::Temporary => "allocated and freed",
    };
    let growth = match site.growth_bytes_per_s {
        Some(growth) if growth != 0 && matches!(view, View::Live | View::Leaks) => {
            format!(", {}", units::rate(growth))
        }
        _ => String::new(),
    };
    let category = format!("{}{kind}", clean(&site.category));
    writeln!(
        out,
        "{number:>3}. {}  {bytes}{error} {word} in {things}{count_error}{growth}",
        style.bold(&category)
    )
}

/// Leaf → cause → owner on a line, or on one each.
pub(in crate::output) fn way(calls: Calls<'_>, style: Style, out: &mut dyn Write) -> io::Result<()> {
    let part = |at: Option<usize>| at.and_then(|at| calls.frames.get(at)).map(AsRef::as_ref);
    let leaf = part(calls.path.leaf).map(label::function);
    let cause = part(calls.path.cause).map(label::function);
    let owner = part(calls.path.owner).map(label::place);
    let owner = owner.filter(|_| calls.path.owner != calls.path.leaf);
    let owner_at = usize::from(leaf.is_some()) + usize::from(cause.is_some());
    let parts: Vec<String> = [leaf, cause, owner.clone()].into_iter().flatten().collect();
    if parts.is_empty() {
        return writeln!(out, "     (no stack)");
    }
    let emphasize = |at: usize, text: &str| {
        if owner.is_some() && at == owner_at { style.bold(text) } else { text.to_owned() }
    };
    let width: usize = parts.iter().map(|part| part.width() + 3).sum();
    if width + 2 <= style.width {
        let line: Vec<String> = parts.iter().enumerate().map(|(at, part)| emphasize(at, part)).collect();
        return writeln!(out, "     {}", line.join(" → "));
    }
    for (at, part) in parts.iter().enumerate() {
        let arrow = if at == 0 { "  " } else { "→ " };
        writeln!(out, "     {arrow}{}", emphasize(at, &label::fit(part, style.width.saturating_sub(7))))?;
    }
    Ok(())
}

/// The stack from the leaf to a little beyond the owner, or all of it.
pub(in crate::output) fn stack(
    calls: Calls<'_>,
    whole: bool,
    style: Style,
    out: &mut dyn Write,
) -> io::Result<()> {
    let frames: Vec<&SiteFrame> = calls
        .frames
        .iter()
        .map(AsRef::as_ref)
        .filter(|frame| whole || frame.kind != FrameKind::Stub)
        .collect();
    // Recursion is told once.
    let mut places: Vec<(String, usize, bool)> = Vec::new();
    for frame in &frames {
        let place = label::place(frame);
        let of_owner = calls
            .path
            .owner
            .and_then(|owner| calls.frames.get(owner))
            .is_some_and(|owner| **owner == **frame);
        match places.last_mut().filter(|(last, ..)| *last == place) {
            Some((_, times, owner)) => {
                *times += 1;
                *owner |= of_owner;
            }
            None => places.push((place, 1, of_owner)),
        }
    }
    let owner = places.iter().position(|(.., owner)| *owner).map_or(0, |owner| owner + 2);
    let shown = if whole { places.len() } else { places.len().min(FRAMES.max(owner).min(FRAMES_MAX)) };
    for (place, times, _) in places.iter().take(shown) {
        let times = if *times > 1 { format!(" ×{times}") } else { String::new() };
        let text = if whole { place.into() } else { label::fit(place, style.width.saturating_sub(16)) };
        writeln!(out, "{}", style.dim(&format!("       at {text}{times}")))?;
    }
    if places.len() > shown {
        let rest = units::counted((places.len() - shown) as u64, "more frame");
        writeln!(out, "{}", style.dim(&format!("       … {rest} (-v shows all)")))?;
    }
    if calls.complete == Some(false) {
        let stop = calls.stop.unwrap_or("the reason is not known");
        writeln!(out, "       {}", style.warn(&format!("incomplete: {}", clean(stop))))?;
    }
    Ok(())
}

fn threads(site: &Site, all: bool, style: Style, out: &mut dyn Write) -> io::Result<()> {
    if site.threads.is_empty() {
        return Ok(());
    }
    let shown = if all { site.threads.len() } else { THREADS };
    let names: Vec<String> = site
        .threads
        .iter()
        .take(shown)
        .map(|thread| format!("{} {}", label::fit(&clean(&thread.name), 24), units::bytes(thread.live_bytes)))
        .collect();
    let more = site.threads.len().saturating_sub(shown);
    let more = if more > 0 { format!(", and {} more", units::count(more as u64)) } else { String::new() };
    writeln!(out, "{}", style.dim(&format!("       threads: {}{more}", names.join(", "))))
}
