//! Sites as samples: what pprof and OTLP have in common. A sample is a stack, labels with one value each, and four
//! values in the order of Go's heap profiles.

use std::borrow::Cow;

use super::calls::Calls;
use super::stacks::source;
use super::{Options, label};
use crate::profile::diff::{Diff, SitePair};
use crate::profile::{Profile, Site, Totals, View};

/// Types of the values, with their units.
pub(super) const TYPES: [(&str, &str); 4] = [
    ("alloc_objects", "count"),
    ("alloc_space", "bytes"),
    ("inuse_objects", "count"),
    ("inuse_space", "bytes"),
];

/// Threads of a site that have samples of their own, at most.
const THREADS: usize = 32;

/// The type that a view is looked at by.
pub(super) const fn first_type(view: View) -> &'static str {
    match view {
        View::Live | View::Leaks | View::Peak => "inuse_space",
        View::Allocated | View::Temporary => "alloc_space",
    }
}

/// What a label says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Key {
    Category,
    Kind,
    Verdict,
    Source,
    Thread,
}

/// A stack with values.
pub(super) struct Sample<'a> {
    /// None: sites that are not shown.
    pub(super) stack: Option<Calls<'a>>,
    pub(super) labels: Vec<(Key, Cow<'a, str>)>,
    pub(super) values: [u64; 4],
}

/// The samples of a profile. What threads are known to hold of a site has samples of their own: a thread is known
/// for what is live, not for what was allocated.
pub(super) fn of_profile<'a>(profile: &'a Profile, options: &Options) -> Vec<Sample<'a>> {
    let source = source(options, profile.sites.iter().map(|site| site.source));
    let sites = profile.sites.iter().filter(|site| site.source == source);
    let top = options.top.unwrap_or(usize::MAX);
    let mut samples = Vec::new();
    let mut rest = [0_u64; 4];
    for (at, site) in sites.enumerate() {
        let values = values(&site.totals);
        if at >= top {
            rest = sum(rest, values);
            continue;
        }
        let verdict = site.verdict.as_ref().map(|verdict| verdict.kind.as_str());
        let labels = labels(&site.category, site.kind.as_deref(), verdict, site.source);
        of_threads(site, values, &labels, &mut samples);
    }
    samples.extend(others(rest, source));
    samples
}

/// The samples of what differs: those of the base, and those of the new one.
pub(super) fn of_diff<'a>(diff: &'a Diff, options: &Options) -> [Vec<Sample<'a>>; 2] {
    let source = source(options, diff.sites.iter().map(|site| site.source));
    let top = options.top.unwrap_or(usize::MAX);
    let mut sides = [Vec::new(), Vec::new()];
    let mut rests = [[0_u64; 4]; 2];
    let sites = diff.sites.iter().filter(|site| site.source == source);
    for (at, site) in sites.enumerate() {
        let SitePair { totals, verdict, .. } = site;
        let of_sides = [(&totals.base, verdict.base), (&totals.new, verdict.new)];
        for ((side, rest), (totals, verdict)) in sides.iter_mut().zip(&mut rests).zip(of_sides) {
            let values = values(totals);
            if at >= top {
                *rest = sum(*rest, values);
            } else if values != [0; 4] {
                let verdict = verdict.map(|kind| kind.as_str());
                let labels = labels(&site.category, site.kind.as_deref(), verdict, site.source);
                side.push(Sample { stack: Some(site.into()), labels, values });
            }
        }
    }
    for (side, rest) in sides.iter_mut().zip(rests) {
        side.extend(others(rest, source));
    }
    sides
}

fn values(totals: &Totals) -> [u64; 4] {
    [totals.allocated_count, totals.allocated_bytes, totals.live_count, totals.live_bytes]
}

fn sum(one: [u64; 4], other: [u64; 4]) -> [u64; 4] {
    let [a, b, c, d] = one;
    let [e, f, g, h] = other;
    [a.saturating_add(e), b.saturating_add(f), c.saturating_add(g), d.saturating_add(h)]
}

/// What is left of `one`.
fn difference(one: [u64; 4], other: [u64; 4]) -> [u64; 4] {
    let [a, b, c, d] = one;
    let [e, f, g, h] = other;
    [a.saturating_sub(e), b.saturating_sub(f), c.saturating_sub(g), d.saturating_sub(h)]
}

fn labels<'a>(
    category: &'a str,
    kind: Option<&'a str>,
    verdict: Option<&'static str>,
    source: &'static str,
) -> Vec<(Key, Cow<'a, str>)> {
    let mut labels = vec![(Key::Category, label::clean(category)), (Key::Source, source.into())];
    labels.extend(kind.map(|kind| (Key::Kind, label::clean(kind))));
    labels.extend(verdict.map(|verdict| (Key::Verdict, verdict.into())));
    labels
}

/// A sample for each thread that holds something of the site, and one for the rest of its values.
fn of_threads<'a>(
    site: &'a Site,
    values: [u64; 4],
    labels: &[(Key, Cow<'a, str>)],
    samples: &mut Vec<Sample<'a>>,
) {
    let mut rest = values;
    for thread in site.threads.iter().take(THREADS) {
        let [.., count, bytes] = rest;
        // Threads are counted a moment after totals.
        let held = [0, 0, thread.live_count.min(count), thread.live_bytes.min(bytes)];
        if held != [0; 4] {
            rest = difference(rest, held);
            let mut labels = labels.to_vec();
            labels.push((Key::Thread, label::clean(&thread.name)));
            samples.push(Sample { stack: Some(site.into()), labels, values: held });
        }
    }
    if rest != [0; 4] {
        samples.push(Sample { stack: Some(site.into()), labels: labels.to_vec(), values: rest });
    }
}

/// Sites that are not shown, so that the sums stay the same.
fn others(values: [u64; 4], source: &'static str) -> Option<Sample<'static>> {
    let labels = vec![(Key::Source, source.into())];
    (values != [0; 4]).then_some(Sample { stack: None, labels, values })
}
