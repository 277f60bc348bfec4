//! `neighbours`: what processes pay that nobody records, while another one is recorded; for builds of `tracer` side by
//! side.

use std::path::PathBuf;
use std::process::Command;

use anyhow::Result;
use clap::Args;
use serde::Serialize;

use crate::builds::Builds;
use crate::machine::{Conditions, Machine};
use crate::render::{number, table};
use crate::statistics::{Spread, median};
use crate::tracer_record::Recorder;
use crate::workload::{self, Java, Workload};

#[derive(Args)]
pub(crate) struct Options {
    #[command(flatten)]
    builds: Builds,
}

/// Work of the neighbour: its command, how often at once, and its name in the table.
const WORK: [(&str, u64, &str); 5] = [
    ("getppid", 200_000, "a system call (getppid)"),
    ("mmap", 30_000, "mmap and munmap"),
    ("fault", 60_000, "a page fault"),
    ("exec", 60, "fork and exec"),
    ("switch", 15_000, "two context switches"),
];
/// Times that each is measured while a recorder is attached, of which the median is taken.
const BATCHES: usize = 5;
const MODES: [(&str, &[&str]); 2] = [("full", &[]), ("light", &["--probes", "light"])];

/// Results of `bench neighbours`.
#[derive(Serialize)]
pub(crate) struct Results {
    schema: &'static str,
    #[serde(flatten)]
    conditions: Conditions,
    rows: Vec<Row>,
}

/// One kind of work.
#[derive(Serialize)]
struct Row {
    work: &'static str,
    untraced_ns: f64,
    traced: Vec<Traced>,
}

/// Its cost while a process is recorded.
#[derive(Serialize)]
struct Traced {
    build: PathBuf,
    mode: &'static str,
    ns: f64,
    /// Against untraced, in the same turn.
    ratio: Spread,
}

/// Readings of one kind of work by variant, then by turn: the first variant is untraced.
type Readings = Vec<Vec<f64>>;

pub(crate) fn measure(options: &Options, alternations: u32) -> Result<Results> {
    let machine = Machine::read();
    let builds = options.builds.all()?;
    let java = Java::compile()?;
    // Asleep: all that the neighbour pays is for what is asked at its own work.
    let target = Workload::start(java.command(&workload::SMALL, "Libraries").args(["0", "."]))?;
    let mut neighbour = Workload::start(&mut Command::new(workload::compile_c("neighbour", &["-pthread"])?))?;
    let variants: Vec<_> = builds.iter().flat_map(|build| MODES.map(|mode| (build, mode))).collect();
    let mut readings: Vec<Readings> = vec![vec![Vec::new(); variants.len() + 1]; WORK.len()];
    for round in 1..=alternations {
        eprintln!("{round} of {alternations}");
        take(&mut neighbour, &mut readings, 0)?;
        for (number, (build, (_, options))) in variants.iter().enumerate() {
            let recorder = Recorder::attach_build(build, target.pid(), options)?;
            take(&mut neighbour, &mut readings, number + 1)?;
            recorder.stop()?;
        }
    }
    let row = |((_, _, work), readings): (&(_, _, &'static str), Readings)| {
        let (untraced, traced) = readings.split_first()?;
        let traced = variants.iter().zip(traced).map(|((build, (mode, _)), taken)| Traced {
            build: (*build).clone(),
            mode,
            ns: median(taken),
            ratio: Spread::of(&taken.iter().zip(untraced).map(|(ns, bare)| ns / bare).collect::<Vec<_>>()),
        });
        Some(Row { work, untraced_ns: median(untraced), traced: traced.collect() })
    };
    Ok(Results {
        schema: "tracer.bench.neighbours/1",
        rows: WORK.iter().zip(readings).filter_map(row).collect(),
        conditions: Conditions::new(machine, java.version, alternations),
    })
}

/// Takes one reading of every kind of work.
fn take(neighbour: &mut Workload, readings: &mut [Readings], variant: usize) -> Result<()> {
    for ((command, count, _), readings) in WORK.iter().zip(readings) {
        let mut batches = Vec::new();
        for _ in 0..BATCHES {
            batches.push(neighbour.ask(&format!("{command} {count}"))? / *count as f64);
        }
        if let Some(taken) = readings.get_mut(variant) {
            taken.push(median(&batches));
        }
    }
    Ok(())
}

/// The results as a person reads them.
pub(crate) fn tables(results: &Results) -> String {
    let first = results.rows.first();
    let several = first.is_some_and(|row| row.traced.len() > MODES.len());
    let name = |traced: &Traced| match several {
        true => format!("{}, {}", traced.mode, traced.build.display()),
        false => traced.mode.to_owned(),
    };
    let head = ["ns of a neighbour's CPU time".to_owned(), "untraced".to_owned()];
    let variants = first.iter().flat_map(|row| row.traced.iter().flat_map(|one| [name(one), "×".to_owned()]));
    let head: Vec<String> = head.into_iter().chain(variants).collect();
    let rows = results.rows.iter().map(|row| {
        let traced = row.traced.iter().flat_map(|traced| [number(traced.ns), traced.ratio.describe()]);
        [row.work.to_owned(), number(row.untraced_ns)].into_iter().chain(traced).collect()
    });
    let head: Vec<&str> = head.iter().map(String::as_str).collect();
    format!("{}\n\n{}", results.conditions.describe(), table(&head, rows))
}
