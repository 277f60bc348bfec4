//! `server`: what recording costs Tomcat under load, for builds of `tracer` side by side, and whether censuses of it are
//! right.
//!
//! Between any two turns beside which something goes on, a recording or censuses, there is one with the load alone, so
//! each is compared with the mean of the turns right before and after it: the speed of a machine that is shared changes
//! within minutes. The server is saturated just after attaching, when the recorder learns names and looks at all
//! memory, and then in the course of the recording; then it is loaded at a steady rate, for its latency.

mod load;
mod results;
mod shares;

use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use clap::Args;

use crate::builds::Builds;
use crate::census::Census;
use crate::machine::{Conditions, Machine};
use crate::tracer_record::{self, Recorder};
use crate::workload::{self, Java, Workload};
use load::Pace;
pub(crate) use results::{Results, tables};
use results::{Turn, Window};
use shares::Readings;

/// Folder in which Debian's `libtomcat10-java` is.
const LIBRARIES: &str = "/usr/share/java";
const FLAGS: [&str; 2] = ["-Xmx256m", "-XX:+UseG1GC"];
/// Code that is compiled meanwhile would be charged to whoever comes first.
const WARM_UP: Duration = Duration::from_secs(15);
/// Steady rate as a part of what the server can do.
const STEADY_SHARE: f64 = 0.4;
const MODES: [(&str, &[&str]); 2] = [("light", &["--probes", "light"]), ("full", &[])];

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
    #[command(flatten)]
    builds: Builds,
}

/// What goes on beside the load.
enum Beside {
    Nothing,
    /// A recording by this build.
    Recording {
        build: PathBuf,
        options: &'static [&'static str],
    },
    /// Censuses, one after the other.
    Censuses,
}

pub(crate) fn measure(options: &Options, alternations: u32) -> Result<Results> {
    let machine = Machine::read();
    let libraries = libraries()?;
    let variants = variants(&options.builds.all()?);
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
        None => STEADY_SHARE * site.load(Pace::Saturating, site.duration, None)?.requests_per_s,
    };
    let mut turns = vec![site.turn(&Beside::Nothing, rate)?];
    let mut order: Vec<usize> = (0..variants.len()).collect();
    for round in 1..=alternations {
        for &number in &order {
            let Some((name, beside)) = variants.get(number) else { continue };
            eprintln!("{round} of {alternations}: {name}");
            turns.push(Turn { variant: Some(number), ..site.turn(beside, rate)? });
            turns.push(site.turn(&Beside::Nothing, rate)?);
        }
        order.rotate_left(1);
    }
    let names = variants.into_iter().map(|(name, _)| name).collect();
    let conditions = Conditions::new(machine, java.version, alternations);
    Results::new(conditions, version(&libraries), options.connections, rate, names, turns)
}

/// What is measured, by name: each mode of each build, and censuses.
fn variants(builds: &[PathBuf]) -> Vec<(String, Beside)> {
    let recording = |build: &PathBuf, (mode, options): (&str, &'static [&'static str])| {
        let name = match builds {
            [_] => mode.to_owned(),
            _ => format!("{mode}, {}", build.display()),
        };
        (name, Beside::Recording { build: build.clone(), options })
    };
    let recordings = builds.iter().flat_map(|build| MODES.map(|mode| recording(build, mode)));
    recordings.chain([("censuses".to_owned(), Beside::Censuses)]).collect()
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

impl Site {
    fn turn(&self, beside: &Beside, rate: f64) -> Result<Turn> {
        let recorder = match beside {
            Beside::Censuses => return self.turn_with_censuses(rate),
            Beside::Nothing => None,
            Beside::Recording { build, options } => Some(Recorder::attach_build(build, self.pid, options)?),
        };
        let pid = recorder.as_ref().map(Recorder::pid);
        let first = pid.map(|_| self.load(Pace::Saturating, self.first, pid)).transpose()?;
        let saturated = self.load(Pace::Saturating, self.duration, pid)?;
        let steady = self.load(Pace::Rate(rate), self.duration, pid)?;
        recorder.map(Recorder::stop).transpose()?;
        Ok(Turn {
            variant: None,
            first,
            saturated: Some(saturated),
            steady,
            censuses: Vec::new(),
            checked: None,
        })
    }

    /// A steady load alone, beside censuses. What holds the last of them against other readings of the server would
    /// take its part of the processors, so that one is taken apart, when latency is measured no more.
    fn turn_with_censuses(&self, rate: f64) -> Result<Turn> {
        let (steady, censuses) = self.steady_while(rate, || {
            let begun = Instant::now();
            let mut census = Command::new(tracer_record::tracer()?);
            census.args(["census", "--format", "json", "-p", &self.pid.to_string()]).stdout(Stdio::null());
            let status = census.status().context("cannot run tracer")?;
            if !status.success() {
                bail!("tracer census failed ({status})");
            }
            Ok(begun.elapsed())
        })?;
        let (_, mut checked) = self.steady_while(rate, || Census::take(self.pid))?;
        if let Some(wild) = checked.iter().find_map(Census::wild) {
            bail!("a census says what cannot be: {wild}");
        }
        Ok(Turn { variant: None, first: None, saturated: None, steady, censuses, checked: checked.pop() })
    }

    /// A steady load, and the results of what is done again and again meanwhile.
    fn steady_while<T>(&self, rate: f64, work: impl Fn() -> Result<T>) -> Result<(Window, Vec<T>)> {
        let done = AtomicBool::new(false);
        std::thread::scope(|scope| {
            let load = scope.spawn(|| {
                let steady = self.load(Pace::Rate(rate), self.duration, None);
                done.store(true, Ordering::Relaxed);
                steady
            });
            let mut results = Vec::new();
            while !done.load(Ordering::Relaxed) {
                results.push(work()?);
            }
            let Ok(steady) = load.join() else { bail!("the load failed") };
            Ok((steady?, results))
        })
    }

    fn load(&self, pace: Pace, duration: Duration, recorder: Option<u32>) -> Result<Window> {
        let before = Readings::take(self.pid, recorder)?;
        let outcome = load::run(self.port, self.connections, pace, duration)?;
        let after = Readings::take(self.pid, recorder)?;
        Ok(Window {
            requests_per_s: outcome.requests_per_s,
            cpu_us: (after.server_s - before.server_s) * 1e6 / outcome.count().max(1) as f64,
            p50_ms: outcome.latency_ms(0.5),
            p99_ms: outcome.latency_ms(0.99),
            shares: after.since(&before),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_is_in_the_names() {
        let names = ["tomcat10-api.jar", "tomcat10-coyote-10.1.60.jar", "tomcat10-coyote.jar"];
        assert_eq!(version(&names.map(PathBuf::from)), "10.1.60");
    }

    #[test]
    fn builds_have_names_only_where_there_are_several() {
        let names = |builds: &[&str]| {
            let builds: Vec<PathBuf> = builds.iter().map(PathBuf::from).collect();
            variants(&builds).into_iter().map(|(name, _)| name).collect::<Vec<_>>()
        };
        assert_eq!(names(&["b"]), ["light", "full", "censuses"]);
        assert_eq!(names(&["a", "b"]), ["light, a", "full, a", "light, b", "full, b", "censuses"]);
    }
}
