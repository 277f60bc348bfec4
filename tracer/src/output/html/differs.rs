//! Differences, as the page gets them: both sides of each row, and of each call path.

use std::io;

use serde_json::{Value, json};

use super::draft::{Draft, index};
use crate::output::answer::screen::names;
use crate::output::calls::Calls;
use crate::output::label::clean;
use crate::output::stacks::source;
use crate::output::{Options, filtered, program_name};
use crate::profile::Totals;
use crate::profile::diff::{Diff, LinePair, SitePair};

/// Rows by line that a page has, those that changed most.
const LINES: usize = 1_000;

/// The page's data.
pub(super) fn of(diff: &Diff, options: &Options) -> io::Result<Vec<u8>> {
    let source = source(options, diff.sites.iter().map(|site| site.source));
    let sites: Vec<&SitePair> = diff.sites.iter().filter(|site| site.source == source).collect();
    let mut draft = Draft::new();
    draft.stacks(&sites.iter().map(|site| Calls::from(*site)).collect::<Vec<_>>(), &[]);
    draft.texts("site_category", sites.iter().map(|site| Some(site.category.as_str())));
    let verdict = |site: &&SitePair| site.verdict.new.or(site.verdict.base).map(|kind| kind.as_str());
    draft.texts("site_verdict", sites.iter().map(verdict));
    for (name, is_new, of) in [
        ("site_live_bytes", true, (|it| it.live_bytes) as fn(&Totals) -> u64),
        ("site_live_count", true, |it| it.live_count),
        ("site_allocated_bytes", true, |it| it.allocated_bytes),
        ("base_live_bytes", false, |it| it.live_bytes),
        ("base_live_count", false, |it| it.live_count),
        ("base_allocated_bytes", false, |it| it.allocated_bytes),
    ] {
        let side = |site: &&SitePair| of(if is_new { &site.totals.new } else { &site.totals.base }) as f64;
        draft.numbers(name, sites.iter().map(side));
    }
    draft.indices("site_line", &vec![-1; sites.len()]);
    draft.indices("site_course", &vec![-1; sites.len()]);
    let mut lines: Vec<&LinePair> = diff.by_line.iter().filter(|row| row.source == source).collect();
    lines.sort_by_key(|row| std::cmp::Reverse(row.totals.difference.live_bytes.unsigned_abs()));
    let told = |side: &str, it: &crate::profile::Filtered| {
        let sentences = filtered::describe(it);
        (!sentences.is_empty()).then(|| format!("{side}: {}", sentences.join(" ")))
    };
    let filtered = diff.filtered.as_ref().map(|it| [told("base", &it.base), told("new", &it.new)]);
    let facts = json!({
        "kind": "diff",
        "program": program_name(&diff.new.target),
        "source": source,
        "view": options.view.as_str(),
        "version": env!("CARGO_PKG_VERSION"),
        "base": diff.base,
        "new": diff.new,
        "by_time": diff.has_other_length(),
        "notes": diff.notes,
        "filtered": filtered.into_iter().flatten().flatten().collect::<Vec<_>>(),
        "totals": diff.totals,
        "rates": diff.rates,
        "lines": lines.iter().take(LINES).map(|row| line(row)).collect::<Vec<_>>(),
        "line_count": index(lines.len()),
        "categories": diff.categories,
        "threads": diff.threads,
        "code_cache": diff.code_cache,
        "memory": diff.memory,
        "census": diff.census,
    });
    draft.finish(facts)
}

fn line(row: &LinePair) -> Value {
    let kind = row.kind.as_deref().map(|kind| format!(" ({})", clean(kind))).unwrap_or_default();
    let name = row.line.as_ref().and_then(|line| names(line).into_iter().next());
    json!({
        "name": name.as_deref().unwrap_or("no line of the application"),
        "what": format!("{}{kind}", clean(&row.category)),
        "totals": row.totals,
        "rates": row.rates,
        "verdict": row.verdict,
        "advice": row.advice,
    })
}
