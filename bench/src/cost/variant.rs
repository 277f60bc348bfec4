//! Variants that are measured beside each other.

use std::process::Command;

use anyhow::{Result, bail};
use serde::Serialize;

use crate::floor::{self, Place};
use crate::peer::{Bpftrace, Inside};
use crate::tracer_record::Recorder;
use crate::workload::Workload;

/// Value for `--sample-bytes`.
pub(super) const SAMPLE_BYTES: &str = "512k";

#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Variant {
    Untraced,
    FloorAtEntries,
    /// Entry and return of malloc, and free.
    Floor,
    /// The floor, with probes at the places of a recording.
    FloorAtPlaces,
    /// Live table and totals, no stack.
    WithoutStacks,
    Recorded,
    /// Every stack is walked, though it was before.
    WalkedAgain,
    Sampled,
    Light,
    Bpftrace,
    BpftraceStacks,
    Heaptrack,
    Jemalloc,
    JemallocSampled,
    AsyncProfiler,
    AsyncProfilerSampled,
}

/// Variants that work from outside.
pub(super) const OUTSIDE: [Variant; 11] = [
    Variant::Untraced,
    Variant::FloorAtEntries,
    Variant::Floor,
    Variant::FloorAtPlaces,
    Variant::WithoutStacks,
    Variant::Recorded,
    Variant::WalkedAgain,
    Variant::Sampled,
    Variant::Light,
    Variant::Bpftrace,
    Variant::BpftraceStacks,
];

impl Variant {
    /// Heading of the variant's column.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Untraced => "untraced",
            Self::FloorAtEntries => "empty probes at entries",
            Self::Floor => "floor",
            Self::FloorAtPlaces => "empty probes at its places",
            Self::WithoutStacks => "without stacks",
            Self::Recorded => "recorded",
            Self::WalkedAgain => "walked again",
            Self::Sampled => "sampled",
            Self::Light => "light",
            Self::Bpftrace => "bpftrace",
            Self::BpftraceStacks => "bpftrace with ustack",
            Self::Heaptrack => "heaptrack",
            Self::Jemalloc => "jemalloc",
            Self::JemallocSampled => "jemalloc, each 512 KiB",
            Self::AsyncProfiler => "async-profiler",
            Self::AsyncProfilerSampled => "async-profiler, each 512 KiB",
        }
    }

    /// ns of a pair at each of these depths.
    pub(super) fn measure(self, subject: &mut Subject, depths: &[u32]) -> Result<Vec<f64>> {
        let pid = subject.outside.pid();
        let recorded = |options: &[&str], workload: &mut Workload| {
            let recorder = Recorder::attach_with(pid, options)?;
            let taken = rounds(workload, depths);
            recorder.stop()?;
            taken
        };
        let empty = |place: Place, workload: &mut Workload| {
            let _attached = floor::attach(pid, place)?;
            rounds(workload, depths)
        };
        let workload = &mut subject.outside;
        match self {
            Self::Untraced => rounds(workload, depths),
            Self::FloorAtEntries => empty(Place::Entry, workload),
            Self::Floor => empty(Place::Function, workload),
            Self::FloorAtPlaces => empty(Place::Chosen, workload),
            Self::WithoutStacks => {
                let _attached = floor::attach_without_stacks(pid)?;
                rounds(workload, depths)
            }
            Self::Recorded => recorded(&[], workload),
            Self::WalkedAgain => recorded(&["--memo", "off"], workload),
            Self::Sampled => recorded(&["--sample-bytes", SAMPLE_BYTES], workload),
            Self::Light => recorded(&["--probes", "light"], workload),
            Self::Bpftrace | Self::BpftraceStacks => {
                let _attached = Bpftrace::attach(pid, self == Self::BpftraceStacks)?;
                rounds(workload, depths)
            }
            _ => match subject.inside.iter_mut().find(|(variant, _)| *variant == self) {
                Some((_, workload)) => rounds(workload, depths),
                None => bail!("{} was not started", self.name()),
            },
        }
    }
}

/// A workload: one process that is traced from outside, and one for each peer that works inside.
pub(super) struct Subject {
    pub(super) outside: Workload,
    inside: Vec<(Variant, Workload)>,
}

impl Subject {
    /// Starts it; `command` makes the workload's command, with these flags more for a JVM.
    pub(super) fn start(command: impl Fn(&[&str]) -> Command, inside: &[(Variant, Inside)]) -> Result<Self> {
        let started = inside.iter().map(|(variant, peer)| Ok((*variant, peer.start(&command)?)));
        Ok(Self { inside: started.collect::<Result<_>>()?, outside: Workload::start(&mut command(&[]))? })
    }
}

fn rounds(workload: &mut Workload, depths: &[u32]) -> Result<Vec<f64>> {
    depths.iter().map(|depth| workload.pair_ns(*depth)).collect()
}
