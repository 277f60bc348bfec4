//! Courses of call paths, lines and categories, at moments that are at most so many.
//!
//! Sites that hold most have a course; those of a category that have none are one, so that sums stay the same.

use std::collections::BTreeMap;

use crate::profile::{Profile, RowSeries, Site};

/// Moments that a page has, at most. The first and the last are among them.
const MOMENTS: usize = 128;

/// The courses of a profile's sites of one source.
pub(super) struct Courses {
    /// Indices of the profile's moments.
    moments: Vec<usize>,
    /// Sums of sites without a course, by category.
    pub(super) others: Vec<Others>,
    /// Index of the course, by site, then by category of the others; -1: none.
    pub(super) rows: Vec<i32>,
    /// Changes from moment to moment, course after course.
    pub(super) live: Vec<f64>,
    pub(super) allocated: Vec<f64>,
}

/// Sites of a category that have no course of their own.
pub(super) struct Others {
    pub(super) category: String,
    pub(super) count: usize,
}

impl Courses {
    /// The course of a part of each row is not known: then there are no moments.
    pub(super) fn of(profile: &Profile, sites: &[&Site], source: &str) -> Self {
        let length = if profile.filtered.is_part { 0 } else { profile.series.times_ns.len() };
        let moments = match length {
            0..=MOMENTS => (0..length).collect(),
            _ => (0..MOMENTS).map(|at| at * (length - 1) / (MOMENTS - 1)).collect(),
        };
        let mut courses =
            Self { moments, others: Vec::new(), rows: Vec::new(), live: Vec::new(), allocated: Vec::new() };
        if length == 0 {
            courses.rows = vec![-1; sites.len()];
            return courses;
        }
        let mut others: BTreeMap<&str, usize> = BTreeMap::new();
        let mut next = 0;
        for site in sites {
            match &site.course {
                Some(course) => {
                    courses.rows.push(next);
                    next += 1;
                    courses.add(course);
                }
                None => {
                    courses.rows.push(-1);
                    *others.entry(&site.category).or_default() += 1;
                }
            }
        }
        let of_categories =
            if source == "mapping" { &profile.series.mappings } else { &profile.series.categories };
        for (category, count) in others {
            let Some(whole) = of_categories.get(category) else { continue };
            let told = sites.iter().filter(|site| site.category == category);
            courses.add(&rest(whole, told.filter_map(|site| site.course.as_ref())));
            courses.rows.push(next);
            next += 1;
            courses.others.push(Others { category: category.to_owned(), count });
        }
        courses
    }

    /// Times of the moments, since the session started.
    pub(super) fn times_ns(&self, profile: &Profile) -> Vec<u64> {
        self.picked(&profile.series.times_ns)
    }

    /// The values at the moments.
    pub(super) fn picked(&self, values: &[u64]) -> Vec<u64> {
        self.moments.iter().map(|&at| values.get(at).copied().unwrap_or(0)).collect()
    }

    fn add(&mut self, course: &RowSeries) {
        for (values, changes) in
            [(&course.live_bytes, &mut self.live), (&course.allocated_bytes, &mut self.allocated)]
        {
            let mut last = 0.0;
            for &at in &self.moments {
                let value = values.get(at).copied().unwrap_or(0) as f64;
                changes.push(value - last);
                last = value;
            }
        }
    }
}

/// Rest of a whole without its parts.
fn rest<'a>(whole: &RowSeries, parts: impl Iterator<Item = &'a RowSeries>) -> RowSeries {
    let mut rest = whole.clone();
    for part in parts {
        for (rest, part) in
            [(&mut rest.live_bytes, &part.live_bytes), (&mut rest.allocated_bytes, &part.allocated_bytes)]
        {
            for (rest, part) in rest.iter_mut().zip(part) {
                *rest = rest.saturating_sub(*part);
            }
        }
    }
    rest
}
