//! `cost`: ns of CPU that an allocation and its free take in the target.
//!
//! Each workload is one process. In each alternation it does its rounds in every variant: untraced, with empty probes
//! at the chosen places (the floor) and at the entries, recorded in each way that there is, and with peers in the
//! recorder's place; a peer that works inside the process has a process of its own. Ratios are taken within an
//! alternation. Then, apart, the kernel's statistics of the program that walks the stack, at each depth.

mod tables;
mod variant;

use std::process::Command;

use anyhow::Result;
use serde::Serialize;

use crate::machine::{Conditions, Machine};
use crate::peer::{self, AsyncProfiler, Inside};
use crate::program_times::ProgramTimes;
use crate::statistics::median;
use crate::tracer_record::{self, Recorder};
use crate::workload::{self, Java, Workload};
pub(crate) use tables::tables;
use variant::{OUTSIDE, Subject, Variant};

/// The program that walks the stack and keeps the allocation.
const WALKERS: [&str; 2] = ["malloc_known", "allocate_return"];
const NATIVE_DEPTHS: [u32; 4] = [1, 12, 40, 100];
const JAVA_DEPTHS: [u32; 3] = [10, 40, 100];

/// Recursion is neither inlined nor left to the interpreter.
pub(crate) const COMPILED: [&str; 4] = [
    workload::SMALL[0],
    workload::SMALL[1],
    "-XX:CompileCommand=quiet",
    "-XX:CompileCommand=dontinline,Pairs::descend",
];
pub(crate) const INTERPRETED: [&str; 3] = [workload::SMALL[0], workload::SMALL[1], "-Xint"];

/// Results of `bench cost`.
#[derive(Serialize)]
pub(crate) struct Results {
    schema: &'static str,
    #[serde(flatten)]
    conditions: Conditions,
    pairs: Vec<Row>,
    /// Parts that were left out, and why.
    left_out: Vec<String>,
}

#[derive(Serialize)]
struct Row {
    workload: &'static str,
    /// Frames of the workload's own recursion.
    depth: u32,
    /// Frames of the recorded stack, inlined ones included.
    frame_count: usize,
    costs: Vec<Cost>,
    /// Time that the walker takes for one stack, each being walked, by the kernel's statistics.
    walker_ns: f64,
    /// The same for each frame more than in the row above.
    walker_ns_per_frame: Option<f64>,
}

#[derive(Serialize)]
struct Cost {
    variant: Variant,
    ns_per_pair: f64,
    /// Ratio to the floor of the same alternation.
    times_floor: f64,
    /// The recorded pair against this one of the same alternation.
    recorded_times: f64,
}

pub(crate) fn measure(async_profiler: &AsyncProfiler, alternations: u32) -> Result<Results> {
    let machine = Machine::read();
    let pairs = workload::compile_pairs()?;
    let java = Java::compile()?;
    let mut left_out = Vec::new();
    let outside = outside(&mut left_out);
    let native = [
        (Variant::Heaptrack, Inside::Heaptrack),
        (Variant::Jemalloc, Inside::Jemalloc { log2_bytes: 0 }),
        (Variant::JemallocSampled, Inside::Jemalloc { log2_bytes: 19 }),
    ];
    let native = there(native.into(), &mut left_out);
    let library = async_profiler.library(&mut left_out)?;
    let profiler = library.map_or_else(Vec::new, |library| {
        let inside = |bytes| Inside::AsyncProfiler { library: library.to_owned(), bytes };
        vec![(Variant::AsyncProfiler, inside(0)), (Variant::AsyncProfilerSampled, inside(512 << 10))]
    });
    let series =
        |name, command: &dyn Fn(&[&str]) -> Command, inside: &[(Variant, Inside)], depths: &[u32]| {
            let variants: Vec<Variant> =
                outside.iter().copied().chain(inside.iter().map(|(variant, _)| *variant)).collect();
            series(name, Subject::start(command, inside)?, &variants, depths, alternations)
        };
    let mut rows = series("C", &|_| Command::new(&pairs), &native, &NATIVE_DEPTHS)?;
    let compiled = |flags: &[&str]| java.command(&[&COMPILED, flags].concat(), "Pairs");
    rows.extend(series("Java, compiled", &compiled, &profiler, &JAVA_DEPTHS)?);
    let interpreted = |flags: &[&str]| java.command(&[&INTERPRETED, flags].concat(), "Pairs");
    rows.extend(series("Java, interpreted", &interpreted, &[], &JAVA_DEPTHS)?);
    peer::remove_output()?;
    Ok(Results {
        schema: "tracer.bench.cost/1",
        conditions: Conditions::new(machine, java.version, alternations),
        pairs: rows,
        left_out,
    })
}

/// Measurements that can be made from outside here.
fn outside(left_out: &mut Vec<String>) -> Vec<Variant> {
    let mut variants = OUTSIDE.to_vec();
    if !tracer_record::knows("--sample-bytes") {
        left_out.push("sampled: this tracer has no --sample-bytes".to_owned());
        variants.retain(|variant| *variant != Variant::Sampled);
    }
    if !peer::is_there() {
        left_out.push("bpftrace: not installed; cargo xtask bench cost --peers installs it".to_owned());
        variants.retain(|variant| !matches!(variant, Variant::Bpftrace | Variant::BpftraceStacks));
    }
    variants
}

/// Variants that can run.
fn there(peers: Vec<(Variant, Inside)>, left_out: &mut Vec<String>) -> Vec<(Variant, Inside)> {
    let (there, missing): (Vec<_>, Vec<_>) =
        peers.into_iter().partition(|(_, peer)| peer.obstacle().is_none());
    left_out.extend(missing.iter().filter_map(|(_, peer)| peer.obstacle()));
    left_out.dedup();
    there
}

fn series(
    name: &'static str,
    mut subject: Subject,
    variants: &[Variant],
    depths: &[u32],
    alternations: u32,
) -> Result<Vec<Row>> {
    // By depth, then alternation, then variant.
    let mut taken = vec![Vec::new(); depths.len()];
    for round in 1..=alternations {
        let mut costs = vec![Vec::new(); depths.len()];
        for variant in variants {
            eprintln!("{name}: {round} of {alternations}: {}", variant.name());
            for (costs, ns) in costs.iter_mut().zip(variant.measure(&mut subject, depths)?) {
                costs.push(ns);
            }
        }
        for (taken, costs) in taken.iter_mut().zip(costs) {
            taken.push(costs);
        }
    }
    let mut rows: Vec<Row> = Vec::new();
    for (depth, taken) in depths.iter().zip(taken) {
        let (frame_count, walker_ns) = walk(&mut subject.outside, *depth)?;
        let per_frame =
            rows.last().map(|row: &Row| (walker_ns - row.walker_ns) / f64::from(depth - row.depth));
        rows.push(Row {
            workload: name,
            depth: *depth,
            frame_count,
            costs: medians(variants, &taken),
            walker_ns,
            walker_ns_per_frame: per_frame,
        });
    }
    Ok(rows)
}

/// (frames of the recorded stack, ns of a walk).
fn walk(workload: &mut Workload, depth: u32) -> Result<(usize, f64)> {
    const PAIRS: u64 = 30_000;
    let recorder = Recorder::attach_with(workload.pid(), &["--memo", "off"])?;
    let times = ProgramTimes::enable()?;
    // The first walks fill the tables.
    workload.pairs(depth, 1_000)?;
    let walks = || {
        let of_each = WALKERS.map(|program| times.of(recorder.pid(), program));
        of_each
            .into_iter()
            .try_fold((0, 0), |(count, ns), of| of.map(|(more, more_ns)| (count + more, ns + more_ns)))
    };
    let (count_before, ns_before) = walks()?;
    workload.pairs(depth, PAIRS)?;
    let (count, ns) = walks()?;
    drop(times);
    let frame_count = recorder.stop()?.hottest_frame_count()?;
    Ok((frame_count, (ns - ns_before) as f64 / (count - count_before).max(1) as f64))
}

/// `taken`: by alternation, what each of the variants took.
fn medians(variants: &[Variant], taken: &[Vec<f64>]) -> Vec<Cost> {
    let of = |variant: Variant, costs: &[f64]| {
        let place = variants.iter().position(|other| *other == variant);
        place.and_then(|place| costs.get(place)).copied().unwrap_or(f64::NAN)
    };
    let middle =
        |value: &dyn Fn(&[f64]) -> f64| median(&taken.iter().map(|costs| value(costs)).collect::<Vec<_>>());
    let cost = |&variant: &Variant| Cost {
        variant,
        ns_per_pair: middle(&|costs| of(variant, costs)),
        times_floor: middle(&|costs| of(variant, costs) / of(Variant::Floor, costs)),
        recorded_times: middle(&|costs| of(Variant::Recorded, costs) / of(variant, costs)),
    };
    variants.iter().map(cost).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ratios_are_taken_within_an_alternation() {
        let variants = [Variant::Untraced, Variant::Floor, Variant::Recorded, Variant::Heaptrack];
        // The machine was half as fast in the second.
        let once = vec![10.0, 100.0, 200.0, 800.0];
        let costs = medians(&variants, &[once.clone(), once.iter().map(|ns| 2.0 * ns).collect()]);
        let of = |variant| costs.iter().find(|cost| cost.variant == variant).expect("measured");
        assert_eq!((of(Variant::Recorded).ns_per_pair, of(Variant::Recorded).times_floor), (300.0, 2.0));
        assert_eq!((of(Variant::Heaptrack).times_floor, of(Variant::Heaptrack).recorded_times), (8.0, 0.25));
    }
}
