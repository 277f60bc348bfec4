//! `streams`: what it costs to be told how much zlib holds, and by whom: by `--probes light`, by a whole recording,
//! and by async-profiler.
//!
//! A JVM makes and ends Inflaters and Deflaters. Each variant is switched on and off in the running process, and what the
//! streams cost meanwhile is compared with what they cost just before and just after. So that the question is answered,
//! and not only asked, some streams are kept while it is on: each variant must name them, all but one that samples.

mod answer;
mod tables;
mod variant;

use anyhow::{Result, bail};
use serde::Serialize;

use crate::machine::{Conditions, Machine};
use crate::peer::{self, AsyncProfiler, Attached};
use crate::statistics::median;
use crate::workload::{self, Java, Workload};
use answer::Answer;
pub(crate) use tables::tables;
use variant::Variant;

const DEPTHS: [u32; 2] = [10, 40];
/// Recursion is neither inlined nor left to the interpreter.
const FLAGS: [&str; 4] = [
    workload::SMALL[0],
    workload::SMALL[1],
    "-XX:CompileCommand=quiet",
    "-XX:CompileCommand=dontinline,Streams::descend",
];

/// Results of `bench streams`.
#[derive(Serialize)]
pub(crate) struct Results {
    schema: &'static str,
    #[serde(flatten)]
    conditions: Conditions,
    rows: Vec<Row>,
    answers: Vec<Answered>,
    /// Parts that were left out, and why.
    left_out: Vec<String>,
}

#[derive(Serialize)]
struct Row {
    /// Frames of the workload's own recursion.
    depth: u32,
    untraced_ns: f64,
    costs: Vec<Cost>,
}

#[derive(Serialize)]
struct Cost {
    variant: Variant,
    /// Time beyond that of an untraced run, for each stream.
    more_ns: f64,
    /// Cost of `light`, as a multiple of it.
    light_times: f64,
}

/// Answer that a variant gave in the last alternation.
#[derive(Serialize)]
struct Answered {
    variant: Variant,
    answer: Answer,
}

/// ns of a stream: (untraced, with it on).
type Taken = (f64, f64);

pub(crate) fn measure(async_profiler: &AsyncProfiler, alternations: u32) -> Result<Results> {
    let machine = Machine::read();
    let java = Java::compile()?;
    let mut variants = vec![Variant::Light, Variant::Full];
    let mut left_out = Vec::new();
    let library = async_profiler.library(&mut left_out)?;
    if library.is_some() {
        variants.extend([Variant::AsyncProfiler, Variant::AsyncProfilerSampled]);
    }
    let start = || Workload::start(&mut java.command(&FLAGS, "Streams"));
    let mut traced = start()?;
    // Classes that the agent patches stay so when it is off: it has a process of its own.
    let mut with_agent = match library {
        Some(library) => Some(Attached::new(&java, library, start()?)),
        None => None,
    };
    let mut taken = vec![vec![Vec::new(); variants.len()]; DEPTHS.len()];
    let mut answers = Vec::new();
    for round in 1..=alternations {
        answers.clear();
        for (index, variant) in variants.iter().enumerate() {
            eprintln!("{round} of {alternations}: {}", variant.name());
            let (costs, answer) = variant.measure(&mut traced, with_agent.as_mut())?;
            if !variant.samples() && !answer.is_right() {
                bail!("{} is wrong: {}", variant.name(), serde_json::to_string(&answer)?);
            }
            answers.push(Answered { variant: *variant, answer });
            for (taken, cost) in taken.iter_mut().zip(costs) {
                taken[index].push(cost);
            }
        }
    }
    peer::remove_output()?;
    Ok(Results {
        schema: "tracer.bench.streams/1",
        conditions: Conditions::new(machine, java.version, alternations),
        rows: DEPTHS.iter().zip(&taken).map(|(depth, taken)| row(*depth, &variants, taken)).collect(),
        answers,
        left_out,
    })
}

/// `taken`: by variant, then alternation. The first variant is what others are compared with.
fn row(depth: u32, variants: &[Variant], taken: &[Vec<Taken>]) -> Row {
    let more = |taken: &[Taken]| -> Vec<f64> { taken.iter().map(|(off, on)| on - off).collect() };
    let light = more(&taken[0]);
    let costs = variants.iter().zip(taken).map(|(variant, taken)| {
        let more = more(taken);
        let times: Vec<f64> = light.iter().zip(&more).map(|(light, more)| light / more).collect();
        Cost { variant: *variant, more_ns: median(&more), light_times: median(&times) }
    });
    let untraced: Vec<f64> = taken.iter().flatten().map(|(off, _)| *off).collect();
    Row { depth, untraced_ns: median(&untraced), costs: costs.collect() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_added_is_compared_within_an_alternation() {
        // The machine was half as fast in the second.
        let light = vec![(100.0, 110.0), (200.0, 220.0)];
        let peer = vec![(100.0, 140.0), (200.0, 280.0)];
        let row = row(10, &[Variant::Light, Variant::AsyncProfiler], &[light, peer]);
        assert_eq!((row.untraced_ns, row.costs[0].more_ns, row.costs[1].more_ns), (150.0, 15.0, 60.0));
        assert_eq!(row.costs[1].light_times, 0.25);
    }
}
