//! What of each site is looked at, and which part of a profile.

use std::collections::HashMap;

use super::{Kind, Profile, Site, Totals, Variances};

/// What of a site is shown and sorted by.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum View {
    /// Allocated in the session and not freed.
    #[default]
    Live,
    /// All that was allocated in the session.
    Allocated,
    /// Live at sites whose verdict is `leak` or `gc-pending`, or for which the session was too short.
    Leaks,
    /// Allocated and freed again in the session.
    Temporary,
}

impl View {
    /// As in options.
    pub const fn as_str(self) -> &'static str {
        match self {
            View::Live => "live",
            View::Allocated => "allocated",
            View::Leaks => "leaks",
            View::Temporary => "temporary",
        }
    }

    /// The bytes of a row in this view.
    pub const fn bytes(self, totals: &Totals) -> u64 {
        match self {
            View::Live | View::Leaks => totals.live_bytes,
            View::Allocated => totals.allocated_bytes,
            View::Temporary => totals.freed_bytes,
        }
    }

    /// The allocations of a row in this view.
    pub const fn count(self, totals: &Totals) -> u64 {
        match self {
            View::Live | View::Leaks => totals.live_count,
            View::Allocated => totals.allocated_count,
            View::Temporary => totals.freed_count,
        }
    }

    /// The standard errors of both; none if they are exact.
    pub const fn errors(self, totals: &Totals) -> (Option<u64>, Option<u64>) {
        let errors = &totals.errors;
        match self {
            View::Live | View::Leaks => (errors.live_bytes_error, errors.live_count_error),
            View::Allocated => (errors.allocated_bytes_error, errors.allocated_count_error),
            View::Temporary => (errors.freed_bytes_error, errors.freed_count_error),
        }
    }

    /// Is the site one of those looked at? Where the session was too short to tell, every live one is.
    pub fn shows(self, site: &Site) -> bool {
        let wanted = site.verdict.as_ref().is_none_or(|verdict| self.shows_kind(verdict.kind));
        wanted && self.bytes(&site.totals) > 0
    }

    /// Are rows with such a verdict looked at?
    pub fn shows_kind(self, kind: Kind) -> bool {
        self != View::Leaks || matches!(kind, Kind::Leak | Kind::GcPending | Kind::TooShort)
    }
}

impl Profile {
    /// The ids of the categories that the recording has, each once.
    pub fn category_ids(&self) -> Vec<&str> {
        let mut ids: Vec<&str> = Vec::new();
        for category in &self.categories {
            if !ids.contains(&category.id.as_str()) {
                ids.push(&category.id);
            }
        }
        ids
    }

    /// Keeps only the categories and sites of `category`; the totals become theirs.
    pub fn keep_category(&mut self, category: &str) {
        self.categories.retain(|row| row.id == category);
        self.by_line.retain(|row| row.category == category);
        self.keep_sites(|site| site.category == category, None);
        self.findings = super::findings::of(&self.categories);
        self.series.keep_category(category);
        self.totals = Totals::none(self.totals.variances.map(|_| Variances::default()));
        for row in self.categories.iter().filter(|row| row.source == "allocator") {
            self.totals.add(&row.totals);
        }
    }

    /// Keeps only the sites that a view shows, by its bytes. The totals stay those of all.
    pub fn keep_view(&mut self, view: View) {
        if view != View::Live {
            self.keep_sites(|site| view.shows(site), Some(view));
        }
    }

    /// Keeps some sites, in the order of a view if one is given; rows by line have the new indices of theirs.
    fn keep_sites(&mut self, is_kept: impl Fn(&Site) -> bool, order: Option<View>) {
        let sites = std::mem::take(&mut self.sites).into_iter().enumerate();
        let mut kept: Vec<(usize, Site)> = sites.filter(|(_, site)| is_kept(site)).collect();
        if let Some(view) = order {
            kept.sort_by_key(|(_, site)| (site.source, std::cmp::Reverse(view.bytes(&site.totals))));
        }
        let places: HashMap<usize, usize> =
            kept.iter().enumerate().map(|(new, (old, _))| (*old, new)).collect();
        for row in &mut self.by_line {
            row.sites = row.sites.iter().filter_map(|site| places.get(site).copied()).collect();
            row.sites.sort_unstable();
        }
        self.sites = kept.into_iter().map(|(_, site)| site).collect();
    }

    /// Was the allocator left alone, and only what is held behind a few rare calls seen?
    pub fn is_light(&self) -> bool {
        self.session.probes == crate::recording::LIGHT
    }

    /// Did anything get lost, or end early?
    pub fn is_incomplete(&self) -> bool {
        !self.quality.lost.is_empty() || !matches!(self.state, crate::recording::State::Finished(_))
    }
}
