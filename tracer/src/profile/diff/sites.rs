//! Sites of two recordings that a person would call the same.
//!
//! First those with the same frames, as sites are merged within one recording; of the rest, those with the same
//! functions, wherever in their files the calls are and whatever numbers generated classes have: a program
//! that was built again is compared, too.

use std::borrow::Cow;
use std::cmp::Reverse;
use std::collections::{BTreeMap, HashMap};
use std::hash::Hash;
use std::sync::Arc;

use serde::Serialize;

use super::pair::{Durations, Rates, TotalsPair};
use crate::attribute::known_name;
use crate::census::NamePattern;
use crate::profile::holders::merged;
use crate::profile::{CallPath, HolderShare, Site, SiteFrame, SiteThread, Totals, VerdictKind};
use crate::symbolize::FrameKind;

/// A site that both may have.
#[derive(Clone, Debug, Serialize)]
pub struct SitePair {
    pub category: String,
    pub kind: Option<String>,
    /// `allocator` or `mapping`.
    pub source: &'static str,
    #[serde(flatten)]
    pub totals: TotalsPair,
    pub rates: Rates,
    /// Verdicts as each recording has them.
    pub verdict: Verdicts,
    pub owner: Option<String>,
    /// Frames of the new one, if it has the site.
    pub frames: Vec<Arc<SiteFrame>>,
    pub complete: Option<bool>,
    #[serde(skip)]
    pub path: CallPath,
    #[serde(skip)]
    pub stop: Option<String>,
    /// Live memory of the base, and of the new one.
    #[serde(skip)]
    pub live: [SiteLive; 2],
}

/// Memory that one side has live of a site, by thread and by who keeps it.
#[derive(Clone, Debug, Default)]
pub struct SiteLive {
    pub threads: Vec<SiteThread>,
    pub holders: Option<Vec<HolderShare>>,
}

/// Kinds of verdicts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Verdicts {
    pub base: Option<VerdictKind>,
    pub new: Option<VerdictKind>,
}

impl Verdicts {
    /// The verdict of each, if they are not the same.
    pub fn changed(&self) -> Option<(VerdictKind, VerdictKind)> {
        self.base.zip(self.new).filter(|(base, new)| base != new)
    }
}

/// Sites of one side that go together: the sum, and the one that shows it.
struct Group<'a> {
    totals: Totals,
    shown: &'a Site,
    live: SiteLive,
}

/// Pairs the sites of both sides; every site is in one pair.
pub(super) fn pairs(base: &[Site], new: &[Site], durations: Durations) -> Vec<SitePair> {
    let mut pairs = Vec::new();
    let (same, base_rest, new_rest) = matched(base.iter().collect(), new.iter().collect(), same_frames);
    pairs.extend(same);
    let (same, base_rest, new_rest) = matched(base_rest, new_rest, same_functions);
    pairs.extend(same);
    let one = |site| Group::of(&[site]);
    pairs.extend(base_rest.into_iter().map(|site| (one(site), None)));
    pairs.extend(new_rest.into_iter().map(|site| (None, one(site))));
    pairs.into_iter().filter_map(|(base, new)| pair(base, new, durations)).collect()
}

type Sites<'a> = Vec<&'a Site>;
type Matched<'a> = Vec<(Option<Group<'a>>, Option<Group<'a>>)>;

/// Items that have the same key on both sides, and those that have not.
fn matched<'a, K: Eq + Hash>(
    base: Sites<'a>,
    new: Sites<'a>,
    key: impl Fn(&'a Site) -> K,
) -> (Matched<'a>, Sites<'a>, Sites<'a>) {
    // In the order in which keys come first, so that the outcome is always the same.
    let mut places: HashMap<K, usize> = HashMap::new();
    let mut groups: Vec<(Sites<'a>, Sites<'a>)> = Vec::new();
    for (site, is_new) in
        new.into_iter().map(|site| (site, true)).chain(base.into_iter().map(|site| (site, false)))
    {
        let place = *places.entry(key(site)).or_insert_with(|| {
            groups.push((Vec::new(), Vec::new()));
            groups.len() - 1
        });
        if let Some(group) = groups.get_mut(place) {
            if is_new { group.1.push(site) } else { group.0.push(site) }
        }
    }
    let (mut same, mut base_rest, mut new_rest) = (Vec::new(), Vec::new(), Vec::new());
    for (base, new) in groups {
        if base.is_empty() || new.is_empty() {
            base_rest.extend(base);
            new_rest.extend(new);
        } else {
            same.push((Group::of(&base), Group::of(&new)));
        }
    }
    (same, base_rest, new_rest)
}

impl<'a> Group<'a> {
    fn of(sites: &[&'a Site]) -> Option<Self> {
        let mut totals = Totals::default();
        sites.iter().for_each(|site| totals.add(&site.totals));
        let shown = *sites.iter().max_by_key(|site| (site.totals.live_bytes, site.totals.allocated_bytes))?;
        Some(Self { totals, shown, live: SiteLive::of(sites) })
    }
}

impl SiteLive {
    fn of(sites: &[&Site]) -> Self {
        let mut threads: BTreeMap<&str, (u64, u64)> = BTreeMap::new();
        for thread in sites.iter().flat_map(|site| &site.threads) {
            let (bytes, count) = threads.entry(&thread.name).or_default();
            *bytes = bytes.saturating_add(thread.live_bytes);
            *count = count.saturating_add(thread.live_count);
        }
        let thread = |(name, (live_bytes, live_count)): (&str, _)| SiteThread {
            name: name.into(),
            live_bytes,
            live_count,
        };
        let mut threads: Vec<SiteThread> = threads.into_iter().map(thread).collect();
        threads.sort_by_key(|thread| Reverse(thread.live_bytes));
        Self { threads, holders: merged(sites.iter().map(|site| site.holders.as_deref())) }
    }
}

fn pair(base: Option<Group<'_>>, new: Option<Group<'_>>, durations: Durations) -> Option<SitePair> {
    let totals_of = |group: &Option<Group<'_>>| group.as_ref().map(|group| group.totals).unwrap_or_default();
    let verdict_of = |group: &Option<Group<'_>>| group.as_ref()?.shown.found;
    let totals = TotalsPair::new(totals_of(&base), totals_of(&new));
    let verdict = Verdicts { base: verdict_of(&base), new: verdict_of(&new) };
    let site = new.as_ref().or(base.as_ref())?.shown;
    Some(SitePair {
        category: site.category.clone(),
        kind: site.kind.clone(),
        source: site.source,
        rates: Rates::of(&totals, durations),
        totals,
        verdict,
        owner: site.owner.clone(),
        frames: site.frames.clone(),
        complete: site.complete,
        path: site.path,
        stop: site.stop.clone(),
        live: [base, new].map(|group| group.map(|group| group.live).unwrap_or_default()),
    })
}

/// Key that tells sites apart beside their frames.
type Row<'a> = (&'static str, &'a str, Option<&'a str>);

fn row(site: &Site) -> Row<'_> {
    (site.source, &site.category, site.kind.as_deref())
}

type Frame<'a> = (&'a str, FrameKind, Option<Cow<'a, str>>, Option<&'a str>, Option<u32>, Option<u64>);

/// Frames as a person sees them; libraries may lie in other folders, or be unpacked
/// anew. Without a name, the offset is all there is.
fn same_frames(site: &Site) -> (Row<'_>, Vec<Frame<'_>>) {
    let frames = site.frames.iter().filter(|frame| frame.kind != FrameKind::Stub).map(|frame| {
        let offset = frame.offset.filter(|_| frame.function.starts_with("[unknown"));
        let module = frame.module.as_deref().map(known_name);
        (frame.function.as_str(), frame.kind, module, frame.file.as_deref(), frame.line, offset)
    });
    (row(site), frames.collect())
}

fn same_functions(site: &Site) -> (Row<'_>, Vec<(NamePattern, FrameKind)>) {
    let frames = site.frames.iter().filter(|frame| frame.kind != FrameKind::Stub);
    (row(site), frames.map(|frame| (NamePattern::of(&frame.function), frame.kind)).collect())
}
