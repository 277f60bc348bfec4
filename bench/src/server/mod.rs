//! `server`: what recording costs Tomcat under load, and whether censuses of it are right.
//!
//! In each alternation the server is untraced, recorded by `light` and recorded in full, in another order each time:
//! first saturated, for its throughput and the CPU time of a request; then at a steady rate, for its latency.

mod load;

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use clap::Args;
use serde::Serialize;

use crate::census::Census;
use crate::machine::Machine;
use crate::process;
use crate::render::{mib, number, table};
use crate::statistics::median;
use crate::tracer_record::Recorder;
use crate::workload::{self, Java, Workload};
use load::{Outcome, Pace};

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
    throughput: f64,
    cpu_us: f64,
    steady_rate: f64,
    p50_ms: f64,
    p99_ms: f64,
    steady_cpu_us: f64,
}

#[derive(Serialize)]
struct Row {
    variant: Variant,
    /// Saturated.
    requests_per_s: f64,
    loss_percent: f64,
    /// CPU time of the server for each request.
    cpu_us_per_request: f64,
    more_cpu_percent: f64,
    /// Requests in a second at the steady rate.
    steady_requests_per_s: f64,
    p50_ms: f64,
    p99_ms: f64,
    steady_cpu_us_per_request: f64,
    steady_more_cpu_percent: f64,
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
    };
    eprintln!("warming up");
    load::run(site.port, site.connections, Pace::Saturating, WARM_UP)?;
    let rate = match options.rate {
        Some(rate) => f64::from(rate),
        None => 0.4 * site.load(Pace::Saturating)?.0.requests_per_s,
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
    let census = (options.censuses > 0).then(|| site.censuses(options.censuses, rate)).transpose()?;
    Ok(Results {
        schema: "tracer.bench.server/1",
        machine: machine.done(),
        java: java.version,
        tomcat: version(&libraries),
        alternations,
        connections: options.connections,
        steady_rate_per_s: rate,
        variants: VARIANTS.into_iter().map(|variant| row(variant, &taken)).collect(),
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
}

impl Site {
    fn measure(&self, variant: Variant, rate: f64) -> Result<Taken> {
        let recorder = match variant {
            Variant::Untraced => None,
            Variant::Light => Some(Recorder::attach_with(self.pid, &["--probes", "light"])?),
            Variant::Full => Some(Recorder::attach(self.pid)?),
        };
        let (saturated, cpu_us) = self.load(Pace::Saturating)?;
        let (steady, steady_cpu_us) = self.load(Pace::Rate(rate))?;
        recorder.map(Recorder::stop).transpose()?;
        Ok(Taken {
            variant,
            throughput: saturated.requests_per_s,
            cpu_us,
            steady_rate: steady.requests_per_s,
            p50_ms: steady.latency_ms(0.5),
            p99_ms: steady.latency_ms(0.99),
            steady_cpu_us,
        })
    }

    /// (what came of it, CPU time of the server for each request, µs).
    fn load(&self, pace: Pace) -> Result<(Outcome, f64)> {
        let before = process::cpu_time(self.pid)?;
        let outcome = load::run(self.port, self.connections, pace, self.duration)?;
        let cpu = process::cpu_time(self.pid)? - before;
        let requests = outcome.count().max(1) as f64;
        Ok((outcome, cpu.as_secs_f64() * 1e6 / requests))
    }

    /// Takes censuses, one after the other, under the steady load.
    fn censuses(&self, count: u32, rate: f64) -> Result<Censuses> {
        let site = Site { duration: Duration::from_secs(1), ..*self };
        let done = std::sync::atomic::AtomicBool::new(false);
        std::thread::scope(|scope| {
            let load = scope.spawn(|| {
                let outcomes = std::iter::repeat_with(|| site.load(Pace::Rate(rate)));
                let going = outcomes.take_while(|_| !done.load(std::sync::atomic::Ordering::Relaxed));
                going.map(|taken| taken.map(|(outcome, _)| outcome)).collect::<Result<Vec<_>>>()
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
            summary(&taken?, Outcome::joined(load?))
        })
    }
}

fn summary(taken: &[Census], load: Outcome) -> Result<Censuses> {
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
    let more = |value: fn(&Taken) -> f64| {
        let more: Vec<f64> =
            pairs.iter().map(|(taken, untraced)| 100.0 * (value(taken) / value(untraced) - 1.0)).collect();
        median(&more)
    };
    Row {
        variant,
        requests_per_s: of(|taken| taken.throughput),
        loss_percent: -more(|taken| taken.throughput),
        cpu_us_per_request: of(|taken| taken.cpu_us),
        more_cpu_percent: more(|taken| taken.cpu_us),
        steady_requests_per_s: of(|taken| taken.steady_rate),
        p50_ms: of(|taken| taken.p50_ms),
        p99_ms: of(|taken| taken.p99_ms),
        steady_cpu_us_per_request: of(|taken| taken.steady_cpu_us),
        steady_more_cpu_percent: more(|taken| taken.steady_cpu_us),
    }
}

/// The results as a person reads them.
pub(crate) fn tables(results: &Results) -> String {
    let rows = results.variants.iter().map(|row| {
        let traced = row.variant != Variant::Untraced;
        let percent = |value: f64| if traced { format!("{value:.2}") } else { String::new() };
        vec![
            format!("{:?}", row.variant).to_lowercase(),
            number(row.requests_per_s),
            percent(row.loss_percent),
            number(row.cpu_us_per_request),
            percent(row.more_cpu_percent),
            number(row.steady_requests_per_s),
            format!("{:.2}", row.p50_ms),
            format!("{:.2}", row.p99_ms),
            number(row.steady_cpu_us_per_request),
            percent(row.steady_more_cpu_percent),
        ]
    });
    let head = [
        "Tomcat",
        "saturated: requests/s",
        "loss, %",
        "CPU µs a request",
        "more, %",
        "steady: requests/s",
        "p50, ms",
        "p99, ms",
        "CPU µs a request",
        "more, %",
    ];
    let mut text = format!(
        "{}\n{}; Tomcat {}, {} connections; medians of {}, measured alternately\n\n{}",
        results.machine.describe(),
        results.java,
        results.tomcat,
        results.connections,
        results.alternations,
        table(&head, rows)
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
            throughput,
            cpu_us: 1e6 / throughput,
            steady_rate: 100.0,
            p50_ms: 1.0,
            p99_ms: 2.0,
            steady_cpu_us: 10.0,
        };
        // The machine was half as fast in the second.
        let rounds = [1000.0, 500.0]
            .map(|rate| vec![taken(Variant::Full, 0.8 * rate), taken(Variant::Untraced, rate)]);
        let full = row(Variant::Full, &rounds);
        assert!((full.loss_percent - 20.0).abs() < 1e-9 && (full.more_cpu_percent - 25.0).abs() < 1e-9);
        assert_eq!(full.requests_per_s, 600.0);
    }

    #[test]
    fn the_version_is_in_the_names() {
        let names = ["tomcat10-api.jar", "tomcat10-coyote-10.1.60.jar", "tomcat10-coyote.jar"];
        assert_eq!(version(&names.map(PathBuf::from)), "10.1.60");
    }
}
