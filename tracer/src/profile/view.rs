//! The quantity of each site that is looked at, and which part of a profile.

use std::cmp::Reverse;
use std::collections::HashMap;

use super::{Profile, Site, Totals, VerdictKind};

/// Quantity of a site that is shown and sorted by.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum View {
    /// Allocated in the session and not freed.
    #[default]
    Live,
    /// Allocations of the session, all of them.
    Allocated,
    /// Live at sites whose verdict is `leak` or `gc-pending`, or for which the session was too short.
    Leaks,
    /// Allocated and freed again in the session.
    Temporary,
    /// Live when most was live: the totals are those of that moment ([`Part::is_peak`](super::Part::is_peak)).
    Peak,
}

impl View {
    /// Name in options.
    pub const fn as_str(self) -> &'static str {
        match self {
            View::Live => "live",
            View::Allocated => "allocated",
            View::Leaks => "leaks",
            View::Temporary => "temporary",
            View::Peak => "peak",
        }
    }

    /// The bytes of a row in this view.
    pub const fn bytes(self, totals: &Totals) -> u64 {
        match self {
            View::Live | View::Leaks | View::Peak => totals.live_bytes,
            View::Allocated => totals.allocated_bytes,
            View::Temporary => totals.freed_bytes,
        }
    }

    /// The allocations of a row in this view.
    pub const fn count(self, totals: &Totals) -> u64 {
        match self {
            View::Live | View::Leaks | View::Peak => totals.live_count,
            View::Allocated => totals.allocated_count,
            View::Temporary => totals.freed_count,
        }
    }

    /// The standard errors of both; none if they are exact.
    pub const fn errors(self, totals: &Totals) -> (Option<u64>, Option<u64>) {
        let errors = &totals.errors;
        match self {
            View::Live | View::Leaks | View::Peak => (errors.live_bytes_error, errors.live_count_error),
            View::Allocated => (errors.allocated_bytes_error, errors.allocated_count_error),
            View::Temporary => (errors.freed_bytes_error, errors.freed_count_error),
        }
    }

    /// Is the site one of those looked at? Where the session was too short to tell, every live one is.
    pub fn shows(self, site: &Site) -> bool {
        let wanted = site.found.is_none_or(|kind| self.shows_kind(kind));
        wanted && self.bytes(&site.totals) > 0
    }

    /// Are rows with such a verdict looked at?
    pub fn shows_kind(self, kind: VerdictKind) -> bool {
        self != View::Leaks
            || matches!(kind, VerdictKind::Leak | VerdictKind::GcPending | VerdictKind::TooShort)
    }
}

/// Order of rows, the most first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sort {
    /// Bytes in the view.
    Bytes,
    /// Allocations in the view.
    Count,
    /// Bytes allocated, freed or not.
    Allocated,
    /// Growth of live memory.
    Growth,
}

impl Sort {
    fn of(self, view: View, totals: &Totals, growth_bytes_per_s: Option<i64>) -> i128 {
        match self {
            Sort::Bytes => view.bytes(totals).into(),
            Sort::Count => view.count(totals).into(),
            Sort::Allocated => totals.allocated_bytes.into(),
            // An unknown growth comes behind none.
            Sort::Growth => growth_bytes_per_s.map_or(i128::MIN, i128::from),
        }
    }
}

impl Profile {
    /// Keeps only the sites that a view shows, by its bytes. The totals stay those of all.
    pub fn keep_view(&mut self, view: View) {
        if !matches!(view, View::Live | View::Peak) {
            self.rearrange_sites(|sites| {
                sites.retain(|(_, site)| view.shows(site));
                sites.sort_by_key(|(_, site)| (site.source, Reverse(view.bytes(&site.totals))));
            });
        }
    }

    /// Orders sites, lines and categories, those of the allocator first. Totals stay.
    pub fn sort(&mut self, view: View, by: Sort) {
        let key = |source, totals: &Totals, growth| (source, Reverse(by.of(view, totals, growth)));
        self.categories.sort_by_key(|row| key(row.source, &row.totals, row.growth_bytes_per_s));
        self.by_line.sort_by_key(|row| key(row.source, &row.totals, row.growth_bytes_per_s));
        let order = |(_, site): &(usize, Site)| key(site.source, &site.totals, site.growth_bytes_per_s);
        self.rearrange_sites(|sites| sites.sort_by_key(order));
        // They have indices of rows by line.
        self.findings = super::findings::of(&self.categories, &self.by_line, &self.threads);
    }

    /// Changes which sites there are, or their order; rows by line have the new indices of theirs.
    fn rearrange_sites(&mut self, change: impl FnOnce(&mut Vec<(usize, Site)>)) {
        let mut sites: Vec<(usize, Site)> = std::mem::take(&mut self.sites).into_iter().enumerate().collect();
        change(&mut sites);
        let places: HashMap<usize, usize> =
            sites.iter().enumerate().map(|(new, (old, _))| (*old, new)).collect();
        for row in &mut self.by_line {
            row.sites = row.sites.iter().filter_map(|site| places.get(site).copied()).collect();
            row.sites.sort_unstable();
        }
        self.sites = sites.into_iter().map(|(_, site)| site).collect();
    }

    /// Was the allocator left alone, and only what is held behind a few rare calls seen?
    pub fn is_light(&self) -> bool {
        self.session.probes == crate::recording::LIGHT
    }

    /// Did anything get lost, or end early?
    pub fn is_incomplete(&self) -> bool {
        !self.quality.lost.is_empty() || !matches!(self.state, crate::recording::RecordingState::Finished(_))
    }
}
