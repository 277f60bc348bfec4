//! `census`: how long a census of much memory takes, what it takes itself, and what the target loses meanwhile.
//!
//! The target works all the time: it allocates and writes, or it maps and unmaps, for which it needs the lock of its
//! address space, which a census takes to read it. Its rate while a census is taken is compared with its rates just
//! before and just after it.

mod taken;

use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use clap::Args;
use serde::Serialize;

use crate::machine::Machine;
use crate::process;
use crate::render::{mib, number, table};
use crate::statistics::{Spread, median};
use crate::workload::{self, Workload};

pub(crate) use taken::Census;

#[derive(Args)]
pub(crate) struct Options {
    /// Memory that the target holds, MiB
    #[arg(long, default_value_t = 4096)]
    mib: u64,
}

/// Results of `bench census`.
#[derive(Serialize)]
pub(crate) struct Results {
    schema: &'static str,
    machine: Machine,
    alternations: u32,
    resident_bytes: u64,
    chunk_count: u64,
    /// Process start to its end.
    census_ms: f64,
    census_cpu_ms: f64,
    resident_peak_bytes: u64,
    /// Largest difference between the sum of the parts and the resident memory.
    off_percent: f64,
    work: Vec<Work>,
}

/// What the target lost of one kind of work.
#[derive(Serialize)]
struct Work {
    name: &'static str,
    rate_per_s: f64,
    loss_percent: Spread,
    /// The same for each second of CPU time that the target's thread had: without what it waited for a CPU.
    loss_of_cpu_percent: Spread,
}

/// Kinds of work: as the program calls them, and what is counted.
const WORK: [(&str, &str); 2] = [("allocate", "allocations"), ("map", "mappings")];

pub(crate) fn measure(options: &Options, alternations: u32) -> Result<Results> {
    let machine = Machine::read();
    let program = workload::compile_c("resident", &["-pthread"])?;
    let mut target = Target(Workload::start(Command::new(program).arg(options.mib.to_string()))?);
    let chunk_count = target.0.greeting.parse().context("the target did not count its chunks")?;
    let pid = target.0.pid();
    // The first is not measured: files are read for the first time.
    let mut span = Census::take(pid)?.ended.time;
    let [mut times, mut cpu_times, mut peaks, mut offs] = [const { Vec::new() }; 4];
    let mut work = Vec::new();
    for (command, name) in WORK {
        target.turn_to(command)?;
        let [mut rates, mut losses, mut cpu_losses] = [const { Vec::new() }; 3];
        for round in 1..=alternations {
            eprintln!("census: {name}, {round} of {alternations}");
            let before = target.alone(span)?;
            let begun = target.moment()?;
            let census = Census::take(pid)?;
            let during = target.moment()?.since(&begun)?;
            let after = target.alone(span)?;
            if let Some(why) = census.missing_arenas() {
                bail!("the census has not all of malloc's arenas: {why}");
            }
            if let Some(wild) = census.wild() {
                bail!("the census says what cannot be: {wild}");
            }
            span = census.ended.time;
            times.push(span.as_secs_f64() * 1e3);
            cpu_times.push(census.ended.cpu_time.as_secs_f64() * 1e3);
            peaks.push(census.ended.resident_peak_bytes as f64);
            offs.push(census.off_percent()?);
            rates.push(before.per_s);
            let loss = |during: f64, before: f64, after: f64| 100.0 * (1.0 - 2.0 * during / (before + after));
            losses.push(loss(during.per_s, before.per_s, after.per_s));
            cpu_losses.push(loss(during.per_cpu_s, before.per_cpu_s, after.per_cpu_s));
        }
        work.push(Work {
            name,
            rate_per_s: median(&rates),
            loss_percent: Spread::of(&losses),
            loss_of_cpu_percent: Spread::of(&cpu_losses),
        });
    }
    Ok(Results {
        schema: "tracer.bench.census/2",
        machine: machine.done(),
        alternations,
        resident_bytes: process::resident_bytes(pid)?.0,
        chunk_count,
        census_ms: median(&times),
        census_cpu_ms: median(&cpu_times),
        resident_peak_bytes: median(&peaks) as u64,
        off_percent: offs.iter().copied().fold(0.0, f64::max),
        work,
    })
}

/// The program `resident`.
struct Target(Workload);

/// The collector's account of its work.
struct Moment {
    rounds: f64,
    ns: f64,
    cpu_ns: f64,
}

struct Rate {
    per_s: f64,
    per_cpu_s: f64,
}

impl Target {
    fn turn_to(&mut self, work: &str) -> Result<()> {
        self.0.tell(work)?;
        self.0.line().map(drop)
    }

    fn moment(&mut self) -> Result<Moment> {
        self.0.tell("")?;
        Moment::parse(&self.0.line()?)
    }

    /// Rate of the collector over a span in which nothing is done to it.
    fn alone(&mut self, span: Duration) -> Result<Rate> {
        let begun = self.moment()?;
        std::thread::sleep(span);
        self.moment()?.since(&begun)
    }
}

impl Moment {
    fn parse(line: &str) -> Result<Self> {
        let numbers: Vec<f64> = line.split(' ').filter_map(|word| word.parse().ok()).collect();
        match numbers[..] {
            [rounds, ns, cpu_ns] => Ok(Self { rounds, ns, cpu_ns }),
            _ => bail!("not an account: {line}"),
        }
    }

    fn since(&self, before: &Self) -> Result<Rate> {
        let rounds = self.rounds - before.rounds;
        let rate = |ns: f64| Some(rounds * 1e9 / ns).filter(|rate| rate.is_finite());
        let rates = rate(self.ns - before.ns).zip(rate(self.cpu_ns - before.cpu_ns));
        let (per_s, per_cpu_s) = rates.context("the target did not run")?;
        Ok(Rate { per_s, per_cpu_s })
    }
}

/// The results as a person reads them.
pub(crate) fn tables(results: &Results) -> String {
    let row = |name: &str, value: String| vec![name.to_owned(), value];
    let mut rows = vec![
        row("resident memory of the target", mib(results.resident_bytes)),
        row("chunks of malloc that it holds", number(results.chunk_count as f64)),
        row("time of a census, ms", number(results.census_ms)),
        row("its CPU time, ms", number(results.census_cpu_ms)),
        row("its memory, at most", mib(results.resident_peak_bytes)),
        row("parts from resident memory, %, at most", format!("{:.2}", results.off_percent)),
    ];
    for Work { name, rate_per_s, loss_percent, loss_of_cpu_percent } in &results.work {
        rows.extend([
            row(&format!("{name} of the target a second, alone"), number(*rate_per_s)),
            row("fewer while a census is taken, %", loss_percent.describe()),
            row("fewer for each second of its CPU time, %", loss_of_cpu_percent.describe()),
        ]);
    }
    format!(
        "{}\nmedians of {}\n\n{}",
        results.machine.describe(),
        results.alternations,
        table(&["the census", "measured"], rows)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_are_differences() {
        let before = Moment::parse("1000 5000000000 1000000000").expect("three numbers");
        let after = Moment::parse("3000 6000000000 1500000000").expect("three numbers");
        let rate = after.since(&before).expect("time went by");
        assert_eq!((rate.per_s, rate.per_cpu_s), (2000.0, 4000.0));
        assert!(before.since(&before).is_err());
        assert!(Moment::parse("1000 x 3").is_err());
    }
}
