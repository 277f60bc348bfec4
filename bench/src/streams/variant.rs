//! Variants that are measured beside each other: ways to be told what zlib holds.

use anyhow::{Context, Result};
use serde::Serialize;

use super::answer::{self, Answer};
use super::{DEPTHS, Taken};
use crate::peer::Attached;
use crate::tracer_record::Recorder;
use crate::workload::Workload;

#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Variant {
    Light,
    Full,
    AsyncProfiler,
    AsyncProfilerSampled,
}

impl Variant {
    /// Heading of the variant's column.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Light => "light",
            Self::Full => "full",
            Self::AsyncProfiler => "async-profiler",
            Self::AsyncProfilerSampled => "async-profiler, each 512 KiB",
        }
    }

    /// Does this variant leave allocations out?
    pub(super) fn samples(self) -> bool {
        self == Self::AsyncProfilerSampled
    }

    /// Cost of a stream at each depth, and the answer that is given of those that are kept.
    pub(super) fn measure(
        self,
        traced: &mut Workload,
        with_agent: Option<&mut Attached<'_>>,
    ) -> Result<(Vec<Taken>, Answer)> {
        let probes = |set, workload: &mut Workload| -> Result<_> {
            let before = rounds(workload)?;
            let recorder = Recorder::attach_with(workload.pid(), &["--probes", set])?;
            let on = keeping(workload)?;
            let recording = recorder.stop()?;
            let after = ended(workload)?;
            Ok((taken(&before, &on, &after), answer::of_recording(&recording)?))
        };
        let profiled = |bytes, agent: &mut Attached<'_>| -> Result<_> {
            let before = rounds(&mut agent.workload)?;
            agent.start(bytes)?;
            let on = keeping(&mut agent.workload)?;
            let file = agent.stop()?;
            let after = ended(&mut agent.workload)?;
            Ok((taken(&before, &on, &after), answer::of_profile(&agent.lines("HeldBlocks", &file)?)?))
        };
        let missing = "async-profiler was not started";
        match self {
            Self::Light => probes("light", traced),
            Self::Full => probes("full", traced),
            Self::AsyncProfiler => profiled(0, with_agent.context(missing)?),
            Self::AsyncProfilerSampled => profiled(512 << 10, with_agent.context(missing)?),
        }
    }
}

fn taken(before: &[f64], on: &[f64], after: &[f64]) -> Vec<Taken> {
    let off = before.iter().zip(after).map(|(before, after)| (before + after) / 2.0);
    off.zip(on.iter().copied()).collect()
}

/// ns of a stream at each depth, while some are kept.
fn keeping(workload: &mut Workload) -> Result<Vec<f64>> {
    workload.ask(&format!("keep {} {}", answer::INFLATERS, answer::DEFLATERS))?;
    rounds(workload)
}

/// The same when those have ended.
fn ended(workload: &mut Workload) -> Result<Vec<f64>> {
    workload.ask("end")?;
    rounds(workload)
}

fn rounds(workload: &mut Workload) -> Result<Vec<f64>> {
    // A pair is an Inflater and a Deflater.
    DEPTHS.iter().map(|depth| Ok(workload.pair_ns(*depth)? / 2.0)).collect()
}
