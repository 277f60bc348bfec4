//! DHAT's JSON, version 2: what valgrind's `dh_view.html` and the Firefox Profiler read.
//!
//! Maxima and lifetimes are by the moments that the recording keeps. Time is in microseconds.

use std::collections::HashMap;
use std::io::{self, Write};
use std::sync::Arc;

use serde::Serialize;

use super::calls::Calls;
use super::stacks::{missing_root, source};
use super::{Options, filtered, json_text, label};
use crate::process::Pid;
use crate::profile::{Profile, Site, SiteFrame};

/// The file, by the format's own names.
#[derive(Serialize)]
struct File {
    #[serde(rename = "dhatFileVersion")]
    version: u32,
    mode: &'static str,
    verb: &'static str,
    /// Lifetimes are told, accesses are not.
    bklt: bool,
    bkacc: bool,
    tu: &'static str,
    #[serde(rename = "Mtu")]
    mtu: &'static str,
    /// A block that lives shorter is called short-lived: no moment may have seen it.
    tuth: u64,
    cmd: String,
    pid: Pid,
    /// The end, and when most was live.
    te: u64,
    tg: u64,
    pps: Vec<Point>,
    ftbl: Vec<String>,
}

/// A site: total, longest, most, at the peak, at the end; each in bytes and blocks.
#[derive(Default, Serialize)]
struct Point {
    tb: u64,
    tbk: u64,
    /// The sum of lifetimes.
    tl: u64,
    mb: u64,
    mbk: u64,
    gb: u64,
    gbk: u64,
    eb: u64,
    ebk: u64,
    /// Leaf first.
    fs: Vec<usize>,
}

/// Writes a profile.
///
/// # Errors
/// Writing failed.
pub fn render(profile: &Profile, options: &Options, out: &mut dyn Write) -> io::Result<()> {
    let source = source(options, profile.sites.iter().map(|site| site.source));
    let mut frames = Frames::new();
    let mut points = Vec::new();
    let mut rest = Point { fs: vec![frames.word("[other sites]")], ..Point::default() };
    for (at, site) in profile.sites.iter().filter(|site| site.source == source).enumerate() {
        let point = point(site);
        if at < options.top.unwrap_or(usize::MAX) {
            points.push(Point { fs: frames.stack(site.into()), ..point });
        } else {
            rest.add(&point);
        }
    }
    if rest.tb > 0 {
        points.push(rest);
    }
    let peak_ns = match source {
        "mapping" => profile.peak_times.mapping_ns,
        _ => profile.peak_times.allocator_ns,
    };
    let target = &profile.target;
    let command = if target.command.is_empty() { target.comm.clone() } else { target.command.join(" ") };
    let file = File {
        version: 2,
        mode: "heap",
        verb: if source == "mapping" { "Mapped" } else { "Allocated" },
        bklt: true,
        bkacc: false,
        tu: "µs",
        mtu: "s",
        tuth: micros(interval_ns(&profile.series.times_ns)),
        // The format has no other text.
        cmd: [vec![label::clean(&command).into_owned()], filtered::of_profile(profile)].concat().join(" "),
        pid: target.pid,
        te: micros(profile.session.duration_ns),
        tg: micros(peak_ns),
        pps: points,
        ftbl: frames.names,
    };
    json_text::write(&mut *out, &file, false)?;
    out.write_all(b"\n")
}

fn point(site: &Site) -> Point {
    let (totals, peak) = (&site.totals, &site.peak);
    Point {
        tb: totals.allocated_bytes,
        tbk: totals.allocated_count,
        tl: micros(peak.lifetimes_ns),
        mb: peak.live_bytes,
        mbk: peak.live_count,
        gb: peak.bytes_at_peak,
        gbk: peak.count_at_peak,
        eb: totals.live_bytes,
        ebk: totals.live_count,
        fs: Vec::new(),
    }
}

impl Point {
    fn add(&mut self, other: &Point) {
        let sums = [
            (&mut self.tb, other.tb),
            (&mut self.tbk, other.tbk),
            (&mut self.tl, other.tl),
            (&mut self.mb, other.mb),
            (&mut self.mbk, other.mbk),
            (&mut self.gb, other.gb),
            (&mut self.gbk, other.gbk),
            (&mut self.eb, other.eb),
            (&mut self.ebk, other.ebk),
        ];
        for (sum, more) in sums {
            *sum = sum.saturating_add(more);
        }
    }
}

/// Frames as DHAT names them, each once.
struct Frames {
    names: Vec<String>,
    places: HashMap<String, usize>,
    known: HashMap<*const SiteFrame, usize>,
}

impl Frames {
    fn new() -> Self {
        let names = vec!["[root]".to_owned()];
        Self { names, places: HashMap::new(), known: HashMap::new() }
    }

    fn stack(&mut self, calls: Calls<'_>) -> Vec<usize> {
        let mut stack: Vec<usize> = calls.frames.iter().map(|frame| self.frame(frame)).collect();
        stack.extend(missing_root(calls).map(|word| self.word(&word)));
        stack
    }

    fn frame(&mut self, frame: &Arc<SiteFrame>) -> usize {
        if let Some(place) = self.known.get(&Arc::as_ptr(frame)) {
            return *place;
        }
        let name = label::function(frame);
        let file = frame.file.as_deref().map(label::clean);
        let within = match (file, frame.line, frame.module.as_deref().map(label::clean)) {
            (Some(file), Some(line), _) if line > 0 => format!("{file}:{line}"),
            (Some(file), ..) => file.into_owned(),
            (None, _, Some(module)) => format!("in {module}"),
            (None, _, None) => "in ???".to_owned(),
        };
        let place = self.word(&format!("0x{:X}: {name} ({within})", frame.offset.unwrap_or(0)));
        self.known.insert(Arc::as_ptr(frame), place);
        place
    }

    fn word(&mut self, word: &str) -> usize {
        if let Some(place) = self.places.get(word) {
            return *place;
        }
        self.names.push(word.to_owned());
        self.places.insert(word.to_owned(), self.names.len() - 1);
        self.names.len() - 1
    }
}

/// Interval between moments, at most of the times.
fn interval_ns(times_ns: &[u64]) -> u64 {
    let mut gaps: Vec<u64> =
        times_ns.windows(2).filter_map(|pair| Some(pair.last()?.saturating_sub(*pair.first()?))).collect();
    gaps.sort_unstable();
    gaps.get(gaps.len() / 2).copied().unwrap_or(0)
}

fn micros(nanoseconds: u64) -> u64 {
    nanoseconds / 1_000
}

#[cfg(test)]
mod tests;
