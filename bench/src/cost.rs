//! `cost`: ns of CPU that an allocation and its free take in the target.
//!
//! Each workload is one process. In each alternation it does its rounds untraced, with empty probes at the chosen
//! places (the floor), with empty probes at the entries, recorded, recorded with every stack walked again, and with
//! bpftrace in the recorder's place, if it is installed; ratios are taken within an alternation. Then, apart, the kernel's
//! statistics of the program that walks the stack, at each depth.

use std::process::Command;

use anyhow::Result;
use serde::Serialize;

use crate::floor::{self, Place};
use crate::machine::Machine;
use crate::peer::{self, Bpftrace};
use crate::program_times::ProgramTimes;
use crate::recorder::Recorder;
use crate::render::{number, table};
use crate::statistics::median;
use crate::workload::{self, Java, Workload};

/// The program that walks the stack and keeps the allocation.
const WALKER: &str = "allocate_return";
const NATIVE_DEPTHS: [u32; 4] = [1, 12, 40, 100];
const JAVA_DEPTHS: [u32; 3] = [10, 40, 100];

/// Recursion is neither inlined nor left to the interpreter.
const COMPILED: [&str; 4] = [
    workload::SMALL[0],
    workload::SMALL[1],
    "-XX:CompileCommand=quiet",
    "-XX:CompileCommand=dontinline,Pairs::descend",
];
const INTERPRETED: [&str; 3] = [workload::SMALL[0], workload::SMALL[1], "-Xint"];

#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
enum Variant {
    Untraced,
    Floor,
    FloorAtEntries,
    Recorded,
    /// Every stack is walked, though it was before.
    WalkedAgain,
    Bpftrace,
    BpftraceStacks,
}

impl Variant {
    const ALL: [Self; 7] = [
        Self::Untraced,
        Self::Floor,
        Self::FloorAtEntries,
        Self::Recorded,
        Self::WalkedAgain,
        Self::Bpftrace,
        Self::BpftraceStacks,
    ];
}

/// Everything that was measured.
#[derive(Serialize)]
pub(crate) struct Results {
    schema: &'static str,
    machine: Machine,
    java: String,
    alternations: u32,
    pairs: Vec<Row>,
}

#[derive(Serialize)]
struct Row {
    workload: &'static str,
    /// Frames of the workload's own recursion.
    depth: u32,
    /// Frames of the recorded stack, inlined ones included.
    frame_count: usize,
    costs: Vec<Cost>,
    /// What the walker takes for one stack, each being walked, by the kernel's statistics.
    walker_ns: f64,
    /// The same for each frame more than in the row above.
    walker_ns_per_frame: Option<f64>,
}

#[derive(Serialize)]
struct Cost {
    variant: Variant,
    ns_per_pair: f64,
    /// Against the floor of the same alternation.
    times_floor: f64,
}

pub(crate) fn measure(alternations: u32) -> Result<Results> {
    let machine = Machine::read();
    let pairs = workload::compile_pairs()?;
    let java = Java::compile()?;
    let mut rows = series("C", &mut Command::new(pairs), &NATIVE_DEPTHS, alternations)?;
    rows.extend(series("Java, compiled", &mut java.command(&COMPILED, "Pairs"), &JAVA_DEPTHS, alternations)?);
    rows.extend(series(
        "Java, interpreted",
        &mut java.command(&INTERPRETED, "Pairs"),
        &JAVA_DEPTHS,
        alternations,
    )?);
    Ok(Results {
        schema: "tracer.bench.cost/1",
        machine: machine.done(),
        java: java.version,
        alternations,
        pairs: rows,
    })
}

fn series(name: &'static str, command: &mut Command, depths: &[u32], alternations: u32) -> Result<Vec<Row>> {
    let mut workload = Workload::start(command)?;
    // By depth, then alternation, then variant.
    let mut taken = vec![Vec::new(); depths.len()];
    for round in 1..=alternations {
        eprintln!("{name}: {round} of {alternations}");
        let mut costs = vec![[0.0; Variant::ALL.len()]; depths.len()];
        for (index, variant) in Variant::ALL.into_iter().enumerate() {
            for (depth, ns) in measure_variant(&mut workload, variant, depths)?.into_iter().enumerate() {
                costs[depth][index] = ns;
            }
        }
        for (taken, costs) in taken.iter_mut().zip(costs) {
            taken.push(costs);
        }
    }
    let mut rows: Vec<Row> = Vec::new();
    for (depth, taken) in depths.iter().zip(taken) {
        let (frame_count, walker_ns) = walk(&mut workload, *depth)?;
        let per_frame =
            rows.last().map(|row: &Row| (walker_ns - row.walker_ns) / f64::from(depth - row.depth));
        rows.push(Row {
            workload: name,
            depth: *depth,
            frame_count,
            costs: medians(&taken),
            walker_ns,
            walker_ns_per_frame: per_frame,
        });
    }
    Ok(rows)
}

fn measure_variant(workload: &mut Workload, variant: Variant, depths: &[u32]) -> Result<Vec<f64>> {
    let pid = workload.pid();
    let mut rounds = || depths.iter().map(|depth| workload.pair_ns(*depth)).collect();
    match variant {
        Variant::Untraced => rounds(),
        Variant::Floor | Variant::FloorAtEntries => {
            let place = if variant == Variant::Floor { Place::Chosen } else { Place::Entry };
            let _attached = floor::attach(pid, place)?;
            rounds()
        }
        Variant::Bpftrace | Variant::BpftraceStacks => {
            if !peer::is_there() {
                return Ok(vec![f64::NAN; depths.len()]);
            }
            let _attached = Bpftrace::attach(pid, variant == Variant::BpftraceStacks)?;
            rounds()
        }
        Variant::Recorded | Variant::WalkedAgain => {
            let memo = if variant == Variant::Recorded { "on" } else { "off" };
            let recorder = Recorder::attach_with(pid, &["--memo", memo])?;
            let taken = rounds();
            recorder.stop()?;
            taken
        }
    }
}

/// (frames of the recorded stack, ns of a walk).
fn walk(workload: &mut Workload, depth: u32) -> Result<(usize, f64)> {
    const PAIRS: u64 = 30_000;
    let recorder = Recorder::attach_with(workload.pid(), &["--memo", "off"])?;
    let times = ProgramTimes::enable()?;
    // The first walks fill the tables.
    workload.pairs(depth, 1_000)?;
    let (count_before, ns_before) = times.of(recorder.pid(), WALKER)?;
    workload.pairs(depth, PAIRS)?;
    let (count, ns) = times.of(recorder.pid(), WALKER)?;
    drop(times);
    let frame_count = recorder.stop()?.hottest_frame_count()?;
    Ok((frame_count, (ns - ns_before) as f64 / (count - count_before).max(1) as f64))
}

fn medians(taken: &[[f64; Variant::ALL.len()]]) -> Vec<Cost> {
    const FLOOR: usize = Variant::Floor as usize;
    let of = |index: usize, divisor: &dyn Fn(&[f64; Variant::ALL.len()]) -> f64| {
        median(&taken.iter().map(|costs| costs[index] / divisor(costs)).collect::<Vec<_>>())
    };
    let cost = |(index, variant)| Cost {
        variant,
        ns_per_pair: of(index, &|_| 1.0),
        times_floor: of(index, &|costs| costs[FLOOR]),
    };
    Variant::ALL.into_iter().enumerate().map(cost).collect()
}

/// The results as a person reads them.
pub(crate) fn tables(results: &Results) -> String {
    let cost = |row: &Row, variant: Variant| {
        let found = row.costs.iter().find(|cost| cost.variant == variant);
        found.map(|cost| (cost.ns_per_pair, cost.times_floor)).unwrap_or_default()
    };
    let rows = results.pairs.iter().map(|row| {
        let ns = |variant| match cost(row, variant).0 {
            ns if ns.is_nan() => "–".to_owned(),
            ns => number(ns),
        };
        vec![
            row.workload.to_owned(),
            row.depth.to_string(),
            row.frame_count.to_string(),
            ns(Variant::Untraced),
            ns(Variant::FloorAtEntries),
            ns(Variant::Floor),
            ns(Variant::Recorded),
            format!("{:.2}", cost(row, Variant::Recorded).1),
            ns(Variant::WalkedAgain),
            number(row.walker_ns),
            row.walker_ns_per_frame.map_or_else(String::new, number),
            ns(Variant::Bpftrace),
            ns(Variant::BpftraceStacks),
        ]
    });
    let head = [
        "ns for each pair",
        "depth",
        "frames",
        "untraced",
        "empty probes at entries",
        "floor",
        "recorded",
        "× floor",
        "walked again",
        "walker",
        "per frame",
        "bpftrace",
        "with ustack",
    ];
    format!(
        "{}\n{}\nmedians of {}, measured alternately\n\n{}",
        results.machine.describe(),
        results.java,
        results.alternations,
        table(&head, rows)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ratios_are_taken_within_an_alternation() {
        // The machine was half as fast in the second.
        let once = [10.0, 100.0, 300.0, 200.0, 500.0, 900.0, 1500.0];
        let costs = medians(&[once, once.map(|ns| 2.0 * ns)]);
        let recorded = costs.iter().find(|cost| cost.variant == Variant::Recorded).expect("recorded");
        assert_eq!((recorded.ns_per_pair, recorded.times_floor), (300.0, 2.0));
    }
}
