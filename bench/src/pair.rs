//! `pair`: what a traced pair costs beyond its traps, for builds of `tracer` side by side.
//!
//! Each build records the same process, with its gate closed and opened by turns: nothing is attached or detached
//! between a floor and what is compared with it, and they are less than a tenth of a second apart. So a few
//! turns tell what `cost` needs many alternations for, and on a busy machine too.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Result, bail};
use aya::maps::{Array, Map, MapData, MapInfo};
use clap::Args;
use serde::Serialize;
use tracer_common::table::Control;

use crate::builds::Builds;
use crate::cost::{COMPILED, INTERPRETED};
use crate::machine::{Conditions, Machine};
use crate::render::{number, table};
use crate::statistics::{Spread, median};
use crate::tracer_record::{self, Recorder};
use crate::workload::{self, Java, Workload};

/// Frames of the C program's own.
const NATIVE_DEPTH: u32 = 12;
/// Frames of the Java programs' own.
const JAVA_DEPTHS: [u32; 2] = [40, 100];
/// Pairs in a turn.
const PAIRS: u64 = 12_000;

#[derive(Args)]
pub(crate) struct Options {
    #[command(flatten)]
    builds: Builds,
    /// Turns of each build in an alternation
    #[arg(long, value_name = "COUNT", default_value_t = 11, value_parser = clap::value_parser!(u32).range(1..))]
    turns: u32,
}

/// Results of `bench pair`.
#[derive(Serialize)]
pub(crate) struct Results {
    schema: &'static str,
    #[serde(flatten)]
    conditions: Conditions,
    turns: u32,
    rows: Vec<Row>,
}

#[derive(Serialize)]
struct Row {
    workload: &'static str,
    depth: u32,
    build: PathBuf,
    floor_ns: f64,
    recorded_ns: f64,
    /// Medians of what was taken within a turn.
    beyond_floor_ns: f64,
    times_floor: Spread,
}

pub(crate) fn measure(options: &Options, alternations: u32) -> Result<Results> {
    let machine = Machine::read();
    let builds = options.builds.all()?;
    let java = Java::compile()?;
    let mut native = Command::new(workload::compile_pairs()?);
    let mut rows = Vec::new();
    for (name, depths, command) in [
        ("C", &[NATIVE_DEPTH][..], &mut native),
        ("Java, compiled", &JAVA_DEPTHS, &mut java.command(&COMPILED, "Pairs")),
        ("Java, interpreted", &JAVA_DEPTHS, &mut java.command(&INTERPRETED, "Pairs")),
    ] {
        let mut workload = Workload::start(command)?;
        for &depth in depths {
            let mut taken = vec![Vec::new(); builds.len()];
            for round in 1..=alternations {
                eprintln!("{name}, {depth}: {round} of {alternations}");
                for (build, taken) in builds.iter().zip(&mut taken) {
                    taken.extend(turns(&mut workload, depth, build, options.turns)?);
                }
            }
            rows.extend(
                builds.iter().zip(&taken).map(|(build, taken)| row(name, depth, build.clone(), taken)),
            );
        }
    }
    Ok(Results {
        schema: "tracer.bench.pair/2",
        conditions: Conditions::new(machine, java.version, alternations),
        turns: options.turns,
        rows,
    })
}

/// (floor, recorded), ns.
fn turns(workload: &mut Workload, depth: u32, build: &Path, count: u32) -> Result<Vec<(f64, f64)>> {
    let recorder = Recorder::attach_build(build, workload.pid(), &[])?;
    let mut gate = gate(recorder.pid())?;
    // The first walks fill the tables.
    workload.pairs(depth, 2_000)?;
    let mut turn = |enabled: u32| -> Result<f64> {
        let control = gate.get(&0, 0)?;
        gate.set(0, Control { enabled, ..control }, 0)?;
        Ok(workload.pairs(depth, PAIRS)? / PAIRS as f64)
    };
    (0..count).map(|_| Ok((turn(0)?, turn(1)?))).collect()
}

/// The map by which the recorder `pid` switches its probes on and off.
fn gate(pid: u32) -> Result<Array<MapData, Control>> {
    for id in tracer_record::map_ids(pid)? {
        if MapInfo::from_id(id)?.name_as_str() == Some("CONTROL") {
            return Ok(Map::Array(MapData::from_id(id)?).try_into()?);
        }
    }
    bail!("the recorder has no gate")
}

fn row(workload: &'static str, depth: u32, build: PathBuf, taken: &[(f64, f64)]) -> Row {
    let of = |value: &dyn Fn(f64, f64) -> f64| {
        taken.iter().map(|(floor, recorded)| value(*floor, *recorded)).collect::<Vec<_>>()
    };
    Row {
        workload,
        depth,
        build,
        floor_ns: median(&of(&|floor, _| floor)),
        recorded_ns: median(&of(&|_, recorded| recorded)),
        beyond_floor_ns: median(&of(&|floor, recorded| recorded - floor)),
        times_floor: Spread::of(&of(&|floor, recorded| recorded / floor)),
    }
}

/// The results as a person reads them.
pub(crate) fn tables(results: &Results) -> String {
    let rows = results.rows.iter().map(|row| {
        vec![
            row.workload.to_owned(),
            row.depth.to_string(),
            row.build.display().to_string(),
            number(row.floor_ns),
            number(row.recorded_ns),
            number(row.beyond_floor_ns),
            row.times_floor.describe(),
        ]
    });
    let head = ["ns for each pair", "depth", "build", "floor", "recorded", "beyond", "× floor"];
    format!(
        "{} × {} turns, each with its floor\n\n{}",
        results.conditions.describe(),
        results.turns,
        table(&head, rows)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_turn_is_compared_with_its_own_floor() {
        // The machine was half as fast in the second turn, and stumbled in the third.
        let row = row("C", 12, PathBuf::new(), &[(100.0, 150.0), (200.0, 300.0), (100.0, 900.0)]);
        assert_eq!((row.times_floor.median, row.beyond_floor_ns), (1.5, 100.0));
    }
}
