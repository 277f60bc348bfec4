//! `server`: what recording costs Tomcat under load, and whether censuses of it are right.
//!
//! In each alternation the server is untraced, recorded by `light` and recorded in full, in another order each time.
//! First it is saturated: just after attaching, when the recorder learns names and looks at all memory, and then in the
//! course of a recording. Then it is loaded at a steady rate, for its latency.

mod load;
mod shares;

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use clap::Args;
use serde::Serialize;

use crate::census::Census;
use crate::machine::Machine;
use crate::render::{mib, number, table};
use crate::statistics::{Spread, median};
use crate::tracer_record::Recorder;
use crate::workload::{self, Java, Workload};
use load::{Outcome, Pace};
use shares::{Readings, Shares};

/// Folder in which Debian's `libtomcat10-java` is.
const LIBRARIES: &str = "/usr/share/java";
const FLAGS: [&str; 2] = ["-Xmx256m", "-XX:+UseG1GC"];
/// Code that is compiled meanwhile would be charged to whoever comes first.
const WARM_UP: Duration = Duration::from_secs(15);

#[derive(Args)]
pub(crate) struct Options {
    /// Requests a second of the steady load [default: two fifths of what the server can do untraced]
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..))]
    rate: Option<u32>,
    /// Connections of the load
    #[arg(long, default_value_t = 8, value_parser = clap::value_parser!(u8).range(1..))]
    connections: u8,
    /// Seconds of each measurement
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..))]
    seconds: u64,
    /// Seconds after attaching that are measured apart
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..))]
    first: u64,
    /// Censuses taken under the steady load
    #[arg(long, default_value_t = 30)]
    censuses: u32,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
enum Variant {
    Untraced,
    Light,
    Full,
}

const VARIANTS: [Variant; 3] = [Variant::Untraced, Variant::Light, Variant::Full];

/// Results of `bench server`.
#[derive(Serialize)]
pub(crate) struct Results {
    schema: &'static str,
    machine: Machine,
    java: String,
    tomcat: String,
    alternations: u32,
    connections: u8,
    steady_rate_per_s: f64,
    variants: Vec<Row>,
    census: Option<Censuses>,
}

/// Readings of one variant in one alternation.
#[derive(Clone, Copy)]
struct Taken {
    variant: Variant,
    /// Saturated, just after attaching: requests/s.
    first_throughput: f64,
    first_shares: Shares,
    /// Saturated, in the course of the recording.
    throughput: f64,
    shares: Shares,
    cpu_us: f64,
    steady_rate: f64,
    p50_ms: f64,
    p99_ms: f64,
    steady_cpu_us: f64,
    steady_shares: Shares,
}

#[derive(Serialize)]
struct Row {
    variant: Variant,
    /// Saturated, just after attaching.
    first_loss_percent: Spread,
    first_shares: Shares,
    /// Saturated, in the course of the recording.
    requests_per_s: f64,
    loss_percent: Spread,
    /// CPU time of the server for each request.
    cpu_us_per_request: f64,
    more_cpu_percent: Spread,
    /// Who had the CPUs meanwhile.
    shares: Shares,
    /// Requests in a second at the steady rate.
    steady_requests_per_s: f64,
    p50_ms: f64,
    p99_ms: f64,
    /// p99 as a multiple of the untraced.
    p99_ratio: Spread,
    steady_cpu_us_per_request: f64,
    steady_more_cpu_percent: Spread,
    steady_shares: Shares,
}

#[derive(Serialize)]
struct Censuses {
    count: u32,
    median_ms: f64,
    longest_ms: f64,
    resident_peak_bytes: u64,
    off_percent_at_most: f64,
    /// Requests of the steady load that were answered meanwhile, and their latency.
    requests_per_s: f64,
    p50_ms: f64,
    p99_ms: f64,
    /// p99 as a multiple of that without censuses, untraced.
    p99_ratio: f64,
}

pub(crate) fn measure(options: &Options, alternations: u32) -> Result<Results> {
    let machine = Machine::read();
    let libraries = libraries()?;
    let java = Java::compile_with("Server.java", &libraries)?;
    let mut command = java.command(&FLAGS, "Server");
    command.arg(workload::folder()?.join("tomcat"));
    let server = Workload::start(&mut command)?;
    let site = Site {
        pid: server.pid(),
        port: server.greeting.parse().context("the server told no port")?,
        connections: options.connections.into(),
        duration: Duration::from_secs(options.seconds),
        first: Duration::from_secs(options.first),
    };
    eprintln!("warming up");
    load::run(site.port, site.connections, Pace::Saturating, WARM_UP)?;
    let rate = match options.rate {
        Some(rate) => f64::from(rate),
        None => 0.4 * site.load(Pace::Saturating, None)?.outcome.requests_per_s,
    };
    let mut taken = Vec::new();
    for round in 0..alternations {
        let mut variants = VARIANTS;
        variants.rotate_left(round as usize % VARIANTS.len());
        let mut of_round = Vec::new();
        for variant in variants {
            eprintln!("{} of {alternations}: {variant:?}", round + 1);
            of_round.push(site.measure(variant, rate)?);
        }
        taken.push(of_round);
    }
    let variants: Vec<Row> = VARIANTS.into_iter().map(|variant| row(variant, &taken)).collect();
    let untraced_p99_ms = variants.first().map_or(0.0, |row| row.p99_ms);
    let census =
        (options.censuses > 0).then(|| site.censuses(options.censuses, rate, untraced_p99_ms)).transpose()?;
    Ok(Results {
        schema: "tracer.bench.server/1",
        machine: machine.done(),
        java: java.version,
        tomcat: version(&libraries),
        alternations,
        connections: options.connections,
        steady_rate_per_s: rate,
        variants,
        census,
    })
}

/// Tomcat's libraries.
fn libraries() -> Result<Vec<PathBuf>> {
    let entries = std::fs::read_dir(LIBRARIES).into_iter().flatten().flatten().map(|entry| entry.path());
    let of_tomcat =
        |path: &PathBuf| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("tomcat10-"));
    let mut libraries: Vec<_> = entries.filter(of_tomcat).collect();
    libraries.sort();
    if libraries.is_empty() {
        bail!(
            "there is no Tomcat in {LIBRARIES}\nhelp: cargo xtask bench server, which installs libtomcat10-java"
        );
    }
    Ok(libraries)
}

/// `10.1.60`, from the name of a library.
fn version(libraries: &[PathBuf]) -> String {
    let mut names =
        libraries.iter().filter_map(|path| path.file_stem()?.to_str()?.strip_prefix("tomcat10-coyote-"));
    names.next_back().unwrap_or("10").to_owned()
}

struct Site {
    pid: u32,
    port: u16,
    connections: usize,
    duration: Duration,
    /// Time after attaching that is measured apart.
    first: Duration,
}

/// Result of a load.
struct Loaded {
    outcome: Outcome,
    /// CPU time of the server for each request.
    cpu_us: f64,
    shares: Shares,
}

impl Site {
    fn measure(&self, variant: Variant, rate: f64) -> Result<Taken> {
        let recorder = match variant {
            Variant::Untraced => None,
            Variant::Light => Some(Recorder::attach_with(self.pid, &["--probes", "light"])?),
            Variant::Full => Some(Recorder::attach(self.pid)?),
        };
        let recorder_pid = recorder.as_ref().map(Recorder::pid);
        let first = Self { duration: self.first, ..*self }.load(Pace::Saturating, recorder_pid)?;
        let saturated = self.load(Pace::Saturating, recorder_pid)?;
        let steady = self.load(Pace::Rate(rate), recorder_pid)?;
        recorder.map(Recorder::stop).transpose()?;
        Ok(Taken {
            variant,
            first_throughput: first.outcome.requests_per_s,
            first_shares: first.shares,
            throughput: saturated.outcome.requests_per_s,
            shares: saturated.shares,
            cpu_us: saturated.cpu_us,
            steady_rate: steady.outcome.requests_per_s,
            p50_ms: steady.outcome.latency_ms(0.5),
            p99_ms: steady.outcome.latency_ms(0.99),
            steady_cpu_us: steady.cpu_us,
            steady_shares: steady.shares,
        })
    }

    fn load(&self, pace: Pace, recorder: Option<u32>) -> Result<Loaded> {
        let before = Readings::take(self.pid, recorder)?;
        let outcome = load::run(self.port, self.connections, pace, self.duration)?;
        let after = Readings::take(self.pid, recorder)?;
        let requests = outcome.count().max(1) as f64;
        let cpu_us = (after.server_s - before.server_s) * 1e6 / requests;
        Ok(Loaded { outcome, cpu_us, shares: after.since(&before) })
    }

    /// Takes censuses, one after the other, under the steady load.
    fn censuses(&self, count: u32, rate: f64, untraced_p99_ms: f64) -> Result<Censuses> {
        let site = Site { duration: Duration::from_secs(1), ..*self };
        let done = std::sync::atomic::AtomicBool::new(false);
        std::thread::scope(|scope| {
            let load = scope.spawn(|| {
                let outcomes = std::iter::repeat_with(|| site.load(Pace::Rate(rate), None));
                let going = outcomes.take_while(|_| !done.load(std::sync::atomic::Ordering::Relaxed));
                going.map(|taken| taken.map(|loaded| loaded.outcome)).collect::<Result<Vec<_>>>()
            });
            let taken = (1..=count).map(|number| {
                eprintln!("census {number} of {count}");
                let census = Census::take(self.pid)?;
                match census.wild() {
                    Some(wild) => bail!("a census says what cannot be: {wild}"),
                    None => Ok(census),
                }
            });
            let taken = taken.collect::<Result<Vec<_>>>();
            done.store(true, std::sync::atomic::Ordering::Relaxed);
            let Ok(load) = load.join() else { bail!("the load failed") };
            summary(&taken?, &Outcome::joined(load?), untraced_p99_ms)
        })
    }
}

fn summary(taken: &[Census], load: &Outcome, untraced_p99_ms: f64) -> Result<Censuses> {
    let times: Vec<f64> = taken.iter().map(|census| census.ended.time.as_secs_f64() * 1e3).collect();
    let offs = taken.iter().map(Census::off_percent).collect::<Result<Vec<_>>>()?;
    let peaks = taken.iter().map(|census| census.ended.resident_peak_bytes);
    Ok(Censuses {
        count: taken.len() as u32,
        median_ms: median(&times),
        longest_ms: times.iter().copied().fold(0.0, f64::max),
        resident_peak_bytes: peaks.max().unwrap_or_default(),
        off_percent_at_most: offs.into_iter().fold(0.0, f64::max),
        requests_per_s: load.requests_per_s,
        p50_ms: load.latency_ms(0.5),
        p99_ms: load.latency_ms(0.99),
        p99_ratio: load.latency_ms(0.99) / untraced_p99_ms,
    })
}

/// A variant's medians; what it loses is taken within an alternation.
fn row(variant: Variant, taken: &[Vec<Taken>]) -> Row {
    let find =
        |round: &[Taken], variant: Variant| round.iter().find(|taken| taken.variant == variant).copied();
    let pairs: Vec<(Taken, Taken)> =
        taken.iter().filter_map(|round| find(round, variant).zip(find(round, Variant::Untraced))).collect();
    let of =
        |value: fn(&Taken) -> f64| median(&pairs.iter().map(|(taken, _)| value(taken)).collect::<Vec<_>>());
    let ratios = |value: fn(&Taken) -> f64| -> Vec<f64> {
        pairs.iter().map(|(taken, untraced)| value(taken) / value(untraced)).collect()
    };
    let more = |value: fn(&Taken) -> f64| {
        Spread::of(&ratios(value).iter().map(|ratio| 100.0 * (ratio - 1.0)).collect::<Vec<_>>())
    };
    let loss = |value: fn(&Taken) -> f64| {
        Spread::of(&ratios(value).iter().map(|ratio| 100.0 * (1.0 - ratio)).collect::<Vec<_>>())
    };
    let shares = |value: fn(&Taken) -> Shares| {
        Shares::median(&pairs.iter().map(|(taken, _)| value(taken)).collect::<Vec<_>>())
    };
    Row {
        variant,
        first_loss_percent: loss(|taken| taken.first_throughput),
        first_shares: shares(|taken| taken.first_shares),
        requests_per_s: of(|taken| taken.throughput),
        loss_percent: loss(|taken| taken.throughput),
        cpu_us_per_request: of(|taken| taken.cpu_us),
        more_cpu_percent: more(|taken| taken.cpu_us),
        shares: shares(|taken| taken.shares),
        steady_requests_per_s: of(|taken| taken.steady_rate),
        p50_ms: of(|taken| taken.p50_ms),
        p99_ms: of(|taken| taken.p99_ms),
        p99_ratio: Spread::of(&ratios(|taken| taken.p99_ms)),
        steady_cpu_us_per_request: of(|taken| taken.steady_cpu_us),
        steady_more_cpu_percent: more(|taken| taken.steady_cpu_us),
        steady_shares: shares(|taken| taken.steady_shares),
    }
}

/// The results as a person reads them.
pub(crate) fn tables(results: &Results) -> String {
    let of_traced = |row: &Row, spread: &Spread| match row.variant {
        Variant::Untraced => String::new(),
        Variant::Light | Variant::Full => spread.describe(),
    };
    let name = |row: &Row| format!("{:?}", row.variant).to_lowercase();
    let saturated = results.variants.iter().map(|row| {
        vec![
            name(row),
            of_traced(row, &row.first_loss_percent),
            number(row.requests_per_s),
            of_traced(row, &row.loss_percent),
            number(row.cpu_us_per_request),
            of_traced(row, &row.more_cpu_percent),
        ]
    });
    let saturated = table(
        &[
            "saturated",
            "loss just after attaching, %",
            "requests/s",
            "loss, %",
            "CPU µs a request",
            "more, %",
        ],
        saturated,
    );
    let steady = results.variants.iter().map(|row| {
        vec![
            name(row),
            number(row.steady_requests_per_s),
            format!("{:.2}", row.p50_ms),
            format!("{:.2}", row.p99_ms),
            of_traced(row, &row.p99_ratio),
            number(row.steady_cpu_us_per_request),
            of_traced(row, &row.steady_more_cpu_percent),
        ]
    });
    let steady =
        table(&["steady", "requests/s", "p50, ms", "p99, ms", "×", "CPU µs a request", "more, %"], steady);
    let in_load = |load: &'static str, of: fn(&Row) -> &Shares| {
        results.variants.iter().map(move |row| {
            let mut cells = vec![format!("{load}, {}", name(row))];
            cells.extend(of(row).percents().map(|percent| format!("{percent:.1}")));
            cells
        })
    };
    let shares = in_load("just after attaching", |row| &row.first_shares)
        .chain(in_load("saturated", |row| &row.shares))
        .chain(in_load("steady", |row| &row.steady_shares));
    let mut head = vec!["% of one CPU"];
    head.extend(Shares::NAMES);
    let shares = table(&head, shares);
    let mut text = format!(
        "{}\n{}; Tomcat {}, {} connections; medians of {}, measured alternately\n\n{saturated}\n{steady}\n{shares}",
        results.machine.describe(),
        results.java,
        results.tomcat,
        results.connections,
        results.alternations
    );
    if let Some(census) = &results.census {
        let row = |name: &str, value: String| vec![name.to_owned(), value];
        let rows = [
            row("censuses, none with an error or a number that cannot be", census.count.to_string()),
            row("time of one, ms", number(census.median_ms)),
            row("the longest, ms", number(census.longest_ms)),
            row("its memory, at most", mib(census.resident_peak_bytes)),
            row("parts from resident memory, %, at most", format!("{:.2}", census.off_percent_at_most)),
            row("requests a second meanwhile", number(census.requests_per_s)),
            row("their p50, ms", format!("{:.2}", census.p50_ms)),
            row("their p99, ms", format!("{:.2}", census.p99_ms)),
            row("× that of the untraced server", format!("{:.2}", census.p99_ratio)),
        ];
        text += &format!("\n{}", table(&["under the steady load", "measured"], rows));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn losses_are_taken_within_an_alternation() {
        let taken = |variant, throughput| Taken {
            variant,
            first_throughput: throughput,
            first_shares: Shares::default(),
            throughput,
            shares: Shares::default(),
            cpu_us: 1e6 / throughput,
            steady_rate: 100.0,
            p50_ms: 1.0,
            p99_ms: 2.0,
            steady_cpu_us: 10.0,
            steady_shares: Shares::default(),
        };
        // The machine was half as fast in the second.
        let rounds = [1000.0, 500.0]
            .map(|rate| vec![taken(Variant::Full, 0.8 * rate), taken(Variant::Untraced, rate)]);
        let full = row(Variant::Full, &rounds);
        assert!(
            (full.loss_percent.median - 20.0).abs() < 1e-9
                && (full.more_cpu_percent.high - 25.0).abs() < 1e-9
        );
        assert_eq!(full.requests_per_s, 600.0);
    }

    #[test]
    fn the_version_is_in_the_names() {
        let names = ["tomcat10-api.jar", "tomcat10-coyote-10.1.60.jar", "tomcat10-coyote.jar"];
        assert_eq!(version(&names.map(PathBuf::from)), "10.1.60");
    }
}
