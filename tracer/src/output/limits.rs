//! Limits for people: what is used of each, the fullest first, and why the others cannot be met.

use std::io::{self, Write};

use unicode_width::UnicodeWidthStr;

use super::style::Style;
use super::text::verdicts;
use super::{clean, label, table, units};
use crate::limits::{Fits, Limit, Unit};

/// Percent of a limit from which on it is near.
const NEAR_PERCENT: u64 = 90;

/// Name of a limit for people.
pub(super) fn name(limit: &Limit) -> String {
    let known = match &*limit.id {
        "cgroup-memory" => "memory of the control group",
        "cgroup-memory-high" => "its threshold for throttling",
        "direct-buffers" => "direct buffers",
        "metaspace" => "metaspace",
        "class-space" => "class space",
        "code-cache:all" => "code cache",
        "code-cache:non-nmethods" => "code cache, non-nmethods",
        "code-cache:profiled" => "code cache, profiled",
        "code-cache:non-profiled" => "code cache, non-profiled",
        "code-cache:hot" => "code cache, hot",
        "java-heap" => "Java heap",
        "native-below-heap" => "program break below the heap",
        "threads:cgroup" => "threads of the control group",
        "threads:rlimit" => "threads of the user",
        "threads:threads-max" => "threads of the host",
        "threads:pid-max" => "process ids of the host",
        "mappings" => "mappings",
        "address-space" => "address space",
        "commit" => "memory promised by the kernel",
        "swap" => "swap of the host",
        "host-memory" => "memory of the host",
        other => return clean(other).into_owned(),
    };
    known.to_owned()
}

/// A number of a limit in its unit.
pub(super) fn amount(limit: &Limit, value: u64) -> String {
    match limit.unit {
        Unit::Bytes => units::bytes(value),
        Unit::Count => units::count(value),
    }
}

/// Writes the limits as a table, and in a paragraph those that cannot be met.
pub(super) fn listed(limits: &[Limit], style: Style, out: &mut dyn Write) -> io::Result<()> {
    let (mut met, other): (Vec<&Limit>, Vec<&Limit>) =
        limits.iter().partition(|limit| limit.percent().is_some());
    met.sort_by_key(|limit| std::cmp::Reverse(limit.percent()));
    let mut rows = table::new(&["limit", "used", "of", "", "set by"], 1..4);
    let cells = |limit: &&Limit| {
        let number = |value: Option<u64>| value.map(|value| amount(limit, value)).unwrap_or_default();
        let percent = format!("{} %", limit.percent().unwrap_or(0));
        [name(limit), number(limit.used), number(limit.limit), percent]
    };
    let cells: Vec<[String; 4]> = met.iter().map(cells).collect();
    // Numbers are whole; who sets it gives way to them.
    let width = |row: &[String; 4], column: usize| row.get(column).map_or(0, |cell| cell.width());
    let widest = |column: usize| cells.iter().map(|row| width(row, column)).max().unwrap_or(0).max(4);
    let used: usize = (0..4).map(|column| widest(column) + table::PADDING).sum();
    let room = style.width.saturating_sub(used + table::PADDING + 1).max(6);
    for (row, limit) in cells.into_iter().zip(&met) {
        let set_by = label::fit(&clean(limit.set_by.as_deref().unwrap_or_default()), room).into_owned();
        rows.add_row(row.into_iter().chain([set_by]));
    }
    table::write_lines(&rows, style, false, out)?;
    if !other.is_empty() {
        let why = |limit: &&Limit| {
            let reason = limit.reason.as_deref().unwrap_or("not known");
            format!("{} ({})", name(limit), clean(reason))
        };
        let text =
            format!("Not limited, or not known: {}.", other.iter().map(why).collect::<Vec<_>>().join("; "));
        verdicts::paragraph(&text, 2, style.plain(), out)?;
    }
    Ok(())
}

/// Writes the limits that are nearly used up, and the heap that does not fit, each in a line.
pub(super) fn warnings(
    limits: &[Limit],
    fits: Option<&Fits>,
    style: Style,
    out: &mut dyn Write,
) -> io::Result<()> {
    let near = |limit: &&Limit| {
        // Page cache fills a group's memory and is given back.
        let needed = limit.needed().zip(limit.limit);
        needed.is_some_and(|(needed, most)| {
            u128::from(needed) * 100 >= u128::from(most) * u128::from(NEAR_PERCENT)
        })
    };
    for limit in limits.iter().filter(near) {
        let (used, most) = (limit.used.unwrap_or(0), limit.limit.unwrap_or(0));
        let set_by = limit.set_by.as_deref().map(|by| format!(" ({})", clean(by))).unwrap_or_default();
        let text =
            format!("LIMIT: {}: {} of {}{set_by}", name(limit), amount(limit, used), amount(limit, most));
        for line in verdicts::lines(&text, style.width) {
            writeln!(out, "{}", style.warn(&line))?;
        }
    }
    let Some(fits) = fits.filter(|fits| !fits.fits) else { return Ok(()) };
    let limit = limits.iter().find(|limit| limit.id == fits.limit_id).and_then(|limit| limit.limit);
    let text = format!(
        "DOES NOT FIT: the heap's maximum {} + the rest {} = {}, and the limit is {}",
        units::bytes(fits.heap_max_bytes),
        units::bytes(fits.rest_bytes),
        units::bytes(fits.heap_max_bytes.saturating_add(fits.rest_bytes)),
        limit.map_or_else(|| "-".to_owned(), units::bytes)
    );
    for line in verdicts::lines(&text, style.width) {
        writeln!(out, "{}", style.warn(&line))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rendered(limits: &[Limit], fits: Option<&Fits>) -> String {
        let mut out = Vec::new();
        let style = Style::new(false, 0);
        warnings(limits, fits, style, &mut out).expect("memory");
        listed(limits, style, &mut out).expect("memory");
        String::from_utf8(out).expect("UTF-8")
    }

    #[test]
    fn the_fullest_comes_first_and_a_full_one_is_said() {
        let limit = |id: &str, used, most: Option<u64>| Limit {
            id: id.to_owned(),
            used: Some(used),
            limit: most,
            set_by: most.map(|_| "a flag".to_owned()),
            reason: most.is_none().then(|| "unlimited".to_owned()),
            ..Limit::default()
        };
        let limits = [
            limit("java-heap", 1 << 20, Some(100 << 20)),
            limit("direct-buffers", 64 << 20, Some(64 << 20)),
            limit("metaspace", 1, None),
        ];
        let fits = Fits {
            limit_id: "java-heap".to_owned(),
            heap_max_bytes: 80 << 20,
            rest_bytes: 30 << 20,
            fits: false,
        };
        let text = rendered(&limits, Some(&fits));
        assert!(
            text.starts_with("LIMIT: direct buffers: 64.0 MiB of 64.0 MiB (a flag)\nDOES NOT FIT: "),
            "{text}"
        );
        let at = |word: &str| text.rfind(word).unwrap_or_else(|| panic!("{word}: {text}"));
        assert!(
            at("direct buffers") < at("Java heap") && at("Java heap") < at("metaspace (unlimited)"),
            "{text}"
        );
    }
}
