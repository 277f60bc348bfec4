//! Peaks: the most that each site had live, what it had when most was live of all, and how long its allocations lived.
//!
//! By the moments that the recording keeps, and its end: what rose and fell between two of them is not seen.

use crate::profile;
use crate::recording::{MomentTotals, Recording, Source};

/// The peaks of one site.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Peak {
    /// The most that was live of it.
    pub live_bytes: u64,
    /// Number of live allocations at that moment.
    pub live_count: u64,
    /// Live when most was live of all sites of its source.
    pub bytes_at_peak: u64,
    pub count_at_peak: u64,
    /// The sum of how long its allocations lived, up to the end: the area below the course of `live_count`.
    pub lifetimes_ns: u64,
}

impl Peak {
    /// Course of a part of a site, of whose `whole_count` allocations these are the totals: its course is not known, so
    /// its most is what it has at the end, and its allocations lived as long as all of the site's on average.
    pub(super) fn of_part(&self, totals: &profile::Totals, whole_count: u64) -> Peak {
        let lifetimes_ns = u128::from(self.lifetimes_ns) * u128::from(totals.allocated_count);
        let lifetimes_ns = lifetimes_ns / u128::from(whole_count.max(1));
        Peak {
            live_bytes: totals.live_bytes,
            live_count: totals.live_count,
            bytes_at_peak: totals.live_bytes,
            count_at_peak: totals.live_count,
            lifetimes_ns: u64::try_from(lifetimes_ns).unwrap_or(u64::MAX),
        }
    }
}

/// Times at which most was live of all sites of a source, after the session started.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PeakTimes {
    pub allocator_ns: u64,
    pub mapping_ns: u64,
}

/// The peaks of `site_count` sites. `sites`: the site of each row of the recording's totals; `since`: a moment of
/// CLOCK_MONOTONIC, since the session started.
pub(super) fn of(
    recording: &Recording,
    sites: &[Option<usize>],
    site_count: usize,
    since: impl Fn(u64) -> u64,
) -> (Vec<Peak>, PeakTimes) {
    let mut moments = Moments::new(recording, sites, site_count);
    let mut peaks = vec![Peak::default(); site_count];
    let mut most = [(0, 0); 2];
    let mut changed = vec![0; site_count];
    moments.each(&since, |live, sums, touched, time_ns| {
        for &(site, count_before) in touched {
            let (Some(peak), Some(changed), Some(&(bytes, count))) =
                (peaks.get_mut(site), changed.get_mut(site), live.get(site))
            else {
                continue;
            };
            let lived = count_before.saturating_mul(time_ns.saturating_sub(*changed));
            peak.lifetimes_ns = peak.lifetimes_ns.saturating_add(lived);
            *changed = time_ns;
            if bytes >= peak.live_bytes {
                (peak.live_bytes, peak.live_count) = (bytes, count);
            }
        }
        for (most, &bytes) in most.iter_mut().zip(sums) {
            if bytes > most.0 {
                *most = (bytes, time_ns);
            }
        }
    });
    let end_ns = recording.duration_ns;
    for ((peak, changed), &(_, count)) in peaks.iter_mut().zip(changed).zip(&moments.live) {
        let lived = count.saturating_mul(end_ns.saturating_sub(changed));
        peak.lifetimes_ns = peak.lifetimes_ns.saturating_add(lived);
    }
    let [(_, allocator_ns), (_, mapping_ns)] = most;
    let of_mapping = moments.of_mapping.clone();
    Moments::new(recording, sites, site_count).each(&since, |live, _, _, time_ns| {
        for (wanted_ns, is_mapping) in [(allocator_ns, false), (mapping_ns, true)] {
            if wanted_ns != time_ns {
                continue;
            }
            for ((peak, &(bytes, count)), &of_mapping) in peaks.iter_mut().zip(live).zip(&of_mapping) {
                if of_mapping == is_mapping {
                    (peak.bytes_at_peak, peak.count_at_peak) = (bytes, count);
                }
            }
        }
    });
    (peaks, PeakTimes { allocator_ns, mapping_ns })
}

/// Memory that each site has live, from one moment to the next.
struct Moments<'a> {
    recording: &'a Recording,
    sites: &'a [Option<usize>],
    /// Each row of the recording's totals: live bytes and allocations.
    rows: Vec<(u64, u64)>,
    /// Each site.
    live: Vec<(u64, u64)>,
    of_mapping: Vec<bool>,
    /// Bytes of all, of the allocator and of mappings.
    sums: [u64; 2],
}

impl<'a> Moments<'a> {
    fn new(recording: &'a Recording, sites: &'a [Option<usize>], site_count: usize) -> Self {
        let mut of_mapping = vec![false; site_count];
        for (row, site) in recording.totals.iter().zip(sites) {
            if let Some(of_mapping) = site.and_then(|site| of_mapping.get_mut(site)) {
                *of_mapping = row.source != Source::Allocator;
            }
        }
        let rows = vec![(0, 0); recording.totals.len()];
        Self { recording, sites, rows, live: vec![(0, 0); site_count], of_mapping, sums: [0; 2] }
    }

    /// Calls `see` for each moment with what sites have, all have, the sites that changed with their allocations
    /// before, and the time.
    fn each(
        &mut self,
        since: impl Fn(u64) -> u64,
        mut see: impl FnMut(&[(u64, u64)], &[u64; 2], &[(usize, u64)], u64),
    ) {
        let recording = self.recording;
        let mut touched = Vec::new();
        for sample in &recording.series {
            touched.clear();
            for row in &sample.rows {
                self.set(usize::try_from(row.total).unwrap_or(usize::MAX), &row.totals, &mut touched);
            }
            see(&self.live, &self.sums, &touched, since(sample.time_ns));
        }
        touched.clear();
        for (row, total) in recording.totals.iter().enumerate() {
            self.set(row, &MomentTotals::from(&total.totals), &mut touched);
        }
        see(&self.live, &self.sums, &touched, recording.duration_ns);
    }

    fn set(&mut self, row: usize, totals: &MomentTotals, touched: &mut Vec<(usize, u64)>) {
        let (bytes, count) = (totals.live_bytes(), totals.live_count());
        let site = self.sites.get(row).copied().flatten();
        let (Some(site), Some(before)) = (site, self.rows.get_mut(row)) else { return };
        let before = std::mem::replace(before, (bytes, count));
        if before == (bytes, count) {
            return;
        }
        let sum = usize::from(self.of_mapping.get(site).copied().unwrap_or_default());
        if let (Some(live), Some(sum)) = (self.live.get_mut(site), self.sums.get_mut(sum)) {
            touched.push((site, live.1));
            let change = |now: u64, before: u64, after: u64| now.saturating_sub(before).saturating_add(after);
            *live = (change(live.0, before.0, bytes), change(live.1, before.1, count));
            *sum = change(*sum, before.0, bytes);
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::attribute::Rules;
    use crate::profile::Profile;
    use crate::recording::{self, fixture};

    /// A stream of the sample is opened a second; a buffer stays from the first second on.
    #[test]
    fn peaks_are_of_the_course() {
        let (_folder, path) = fixture::finished();
        let profile = Profile::build(&recording::read(&path).expect("read"), &Rules::builtin());
        let site = |category: &str| {
            let of_category = |site: &&crate::profile::Site| site.category == category;
            profile.sites.iter().find(of_category).expect(category)
        };
        let zlib = site("zlib");
        assert_eq!(zlib.peak.live_bytes, zlib.totals.live_bytes);
        assert_eq!(zlib.peak.bytes_at_peak, zlib.totals.live_bytes);
        let buffer = site("direct-buffer");
        assert_eq!((buffer.peak.live_bytes, buffer.peak.live_count), (4 << 20, 4));
        // Four of them, from the first second to the tenth.
        assert_eq!(buffer.peak.lifetimes_ns, 4 * 9 * fixture::SECOND_NS);
        assert_eq!(profile.peak_times.allocator_ns, 10 * fixture::SECOND_NS);
        // All that a compiler allocated was freed by each moment.
        assert_eq!(site("compiler").peak.live_bytes, 0);
    }
}
