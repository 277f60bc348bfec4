//! Sites as samples: what pprof and OTLP have in common. A sample is a stack, labels with one value each, and four
//! values in the order of Go's heap profiles.

mod parts;

use std::borrow::Cow;

use super::calls::Calls;
use super::stacks::source;
use super::{Options, label};
use crate::profile::diff::{Diff, SitePair};
use crate::profile::{HolderShare, Profile, Site, SiteThread, Totals, View};

/// Types of the values, with their units.
pub(super) const TYPES: [(&str, &str); 4] = [
    ("alloc_objects", "count"),
    ("alloc_space", "bytes"),
    ("inuse_objects", "count"),
    ("inuse_space", "bytes"),
];

/// The type that a view is looked at by.
pub(super) const fn first_type(view: View) -> &'static str {
    match view {
        View::Live | View::Leaks | View::Peak => "inuse_space",
        View::Allocated | View::Temporary => "alloc_space",
    }
}

/// Meaning of a label.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Key {
    Category,
    Kind,
    Verdict,
    Source,
    Thread,
    Holder,
}

/// Sums of a stack under the same labels.
pub(super) struct Sample<'a> {
    pub(super) labels: Vec<(Key, Cow<'a, str>)>,
    pub(super) values: [u64; 4],
}

/// A stack with its samples.
pub(super) struct Sampled<'a> {
    /// `None` for sites that are not shown.
    pub(super) stack: Option<Calls<'a>>,
    pub(super) samples: Vec<Sample<'a>>,
}

/// The samples of a profile. Memory that threads and holders are known to have of a site has samples of its own: they
/// are known for what is live, not for what was allocated.
pub(super) fn of_profile<'a>(
    profile: &'a Profile,
    options: &Options,
) -> impl Iterator<Item = Sampled<'a>> + use<'a> {
    let source = source(options, profile.sites.iter().map(|site| site.source));
    let top = options.top.unwrap_or(usize::MAX);
    let sites = move || profile.sites.iter().filter(move |site| site.source == source);
    let rest = sites().skip(top).map(|site| values(&site.totals)).fold([0; 4], sum);
    let sampled = |site: &'a Site| {
        let verdict = site.found.map(|kind| kind.as_str());
        let labels = labels(&site.category, site.kind.as_deref(), verdict, site.source);
        let whole = Sample { labels, values: values(&site.totals) };
        let samples = in_parts(whole, &site.threads, site.holders.as_deref());
        Sampled { stack: Some(site.into()), samples }
    };
    sites().take(top).map(sampled).chain(others(rest, source))
}

/// Side of a comparison.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Side {
    Base,
    New,
}

/// The samples of one side of what differs.
pub(super) fn of_side<'a>(
    diff: &'a Diff,
    side: Side,
    options: &Options,
) -> impl Iterator<Item = Sampled<'a>> + use<'a> {
    let source = source(options, diff.sites.iter().map(|site| site.source));
    let top = options.top.unwrap_or(usize::MAX);
    let sites = move || diff.sites.iter().filter(move |site| site.source == source);
    let of_side = move |site: &'a SitePair| {
        let SitePair { totals, verdict, live: [base, new], .. } = site;
        match side {
            Side::Base => (&totals.base, verdict.base, base),
            Side::New => (&totals.new, verdict.new, new),
        }
    };
    let rest = sites().skip(top).map(|site| values(of_side(site).0)).fold([0; 4], sum);
    let sampled = move |site: &'a SitePair| {
        let (totals, verdict, live) = of_side(site);
        let verdict = verdict.map(|kind| kind.as_str());
        let labels = labels(&site.category, site.kind.as_deref(), verdict, site.source);
        let whole = Sample { labels, values: values(totals) };
        let samples = in_parts(whole, &live.threads, live.holders.as_deref());
        Sampled { stack: Some(site.into()), samples }
    };
    sites().take(top).map(sampled).chain(others(rest, source))
}

fn values(totals: &Totals) -> [u64; 4] {
    [totals.allocated_count, totals.allocated_bytes, totals.live_count, totals.live_bytes]
}

fn sum(one: [u64; 4], other: [u64; 4]) -> [u64; 4] {
    let [a, b, c, d] = one;
    let [e, f, g, h] = other;
    [a.saturating_add(e), b.saturating_add(f), c.saturating_add(g), d.saturating_add(h)]
}

/// Rest of `one`.
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

/// A sample for each part of what is live of a stack, and one for the rest of its values.
fn in_parts<'a>(
    whole: Sample<'a>,
    threads: &'a [SiteThread],
    holders: Option<&[HolderShare]>,
) -> Vec<Sample<'a>> {
    let Sample { labels, values } = whole;
    let [.., count, bytes] = values;
    let mut rest = values;
    let mut samples = Vec::new();
    for part in parts::of_live(threads, holders, (count, bytes)) {
        let [.., count, bytes] = rest;
        // Threads and holders are counted a moment after totals.
        let held = [0, 0, part.count.min(count), part.bytes.min(bytes)];
        if held != [0; 4] {
            rest = difference(rest, held);
            samples
                .push(Sample { labels: labels.iter().cloned().chain(part.labels).collect(), values: held });
        }
    }
    if rest != [0; 4] {
        samples.push(Sample { labels, values: rest });
    }
    samples
}

/// Sites that are not shown, so that the sums stay the same.
fn others(values: [u64; 4], source: &'static str) -> Option<Sampled<'static>> {
    let labels = vec![(Key::Source, source.into())];
    (values != [0; 4]).then(|| Sampled { stack: None, samples: vec![Sample { labels, values }] })
}
