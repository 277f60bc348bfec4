//! The flags of `tracer record`, and the options that they mean.

use std::{path::PathBuf, time::Duration};

use clap::Args as ClapArgs;
use tracer_common::sampling::{MAX_INTERVAL, MIN_INTERVAL};

use crate::{
    cli::{
        failure::{Failure, status},
        holders::milliseconds,
        process_name::ProcessName,
        values,
    },
    holders::MAX_PAUSE,
    probe::probes::ProbeSet,
    recorder::{Looks, Memo, Options, OutputFile, Subject},
    units,
};

/// The longest session: a capture is bounded, and a slip of the keyboard is not a week's tracing.
const MAX_DURATION: Duration = Duration::from_secs(24 * 60 * 60);

/// Length of a recording of a process that runs already, if nothing else is said.
const DEFAULT_DURATION: Duration = Duration::from_secs(60);

/// Record a process's native memory: attach, watch, detach, keep what was seen in a file
#[derive(Debug, ClapArgs)]
#[command(override_usage = "tracer record [OPTIONS] (-p <PID|NAME> | -- <CMD>...)")]
#[command(after_help = "\
Stops at -d, at Ctrl-C, SIGTERM or SIGHUP (a second one leaves at once), or when the target exits; then prints \
the answer and the next command to run. SIGUSR1 prints it at once, and recording goes on. A command runs on \
after -d, and its exit status is that of tracer. While a command is recorded, Ctrl-C reaches it too, as with perf and strace; \
after -d, it ends tracer alone.")]
pub struct Args {
    /// The process to record: its pid, or the main class, container id or pod uid of a JVM
    #[arg(short, long, value_name = "PID|NAME", conflicts_with = "command")]
    pub pid: Option<ProcessName>,

    /// Time to record: seconds, or with a unit (90, 90s, 5m) [default: 60s; with a command, to its end]
    #[arg(short, long, value_name = "TIME", value_parser = parse_duration)]
    pub duration: Option<Duration>,

    /// The file to write [default: tracer-NAME-PID-TIME.trec]
    #[arg(short, long, value_name = "OUT")]
    pub output: Option<PathBuf>,

    /// Replace OUT if it exists
    #[arg(long)]
    pub force: bool,

    /// Set of probes
    #[arg(long, value_enum, default_value_t = ProbeSet::Full, value_name = "PROBES")]
    pub probes: ProbeSet,

    /// Leave out allocations smaller than this (bytes, or with a unit: 512, 4k, 1m)
    #[arg(long, value_name = "SIZE", default_value = "0", value_parser = units::parse_bytes)]
    pub min_size: u64,

    /// Record one allocation in about SIZE bytes (with a unit: 512k), and estimate totals from those, with
    /// their standard errors
    #[arg(long, value_name = "SIZE", value_parser = parse_interval)]
    pub sample_bytes: Option<u32>,

    /// Share that recording may take of the process's CPU time; when it takes more, it samples, then leaves malloc
    /// alone, then ends. `none`: whatever it takes
    #[arg(long, value_name = "PERCENT", default_value = "10", value_parser = parse_percent)]
    pub max_overhead: u32,

    /// Keep every allocation and free in the file, not only their totals
    #[arg(long)]
    pub events: bool,

    /// At the end, look who keeps what was allocated: the process is held for a moment, while its Java heap is copied
    #[arg(long)]
    pub holders: bool,

    /// With --holders: hold the process no longer than this [default: 500]; if the prediction is longer, look without
    /// stopping it
    #[arg(long, value_name = "MS", value_parser = milliseconds, requires = "holders")]
    pub max_pause: Option<Duration>,

    /// Send the recording to this server at its end, as `tracer push --to` does
    #[arg(long, value_name = "URL")]
    pub push: Option<String>,

    /// Headers to send along, one `Name: value` a line
    #[arg(long, value_name = "F", requires = "push")]
    pub push_header_file: Option<PathBuf>,

    /// No status line and no answer at the end
    #[arg(short, long)]
    pub quiet: bool,

    /// Exit with status 4 if anything was lost
    #[arg(long)]
    pub strict: bool,

    /// Remember stacks that were walked before; `checked` walks them all the same and counts differences
    #[arg(long, value_enum, default_value_t = Memo::On, hide = true)]
    pub memo: Memo,

    /// Start this command and record it from its first instruction to its last
    #[arg(last = true, value_name = "CMD")]
    pub command: Vec<String>,
}

fn parse_duration(text: &str) -> Result<Duration, String> {
    let duration = values::time(text)?;
    if duration.is_zero() {
        return Err("a session of no length records nothing; give at least 1s".to_owned());
    }
    if duration > MAX_DURATION {
        return Err("longer than 24h; record again when it is over".to_owned());
    }
    Ok(duration)
}

/// 100 is no limit: more than all cannot be taken.
fn parse_percent(text: &str) -> Result<u32, String> {
    match text.strip_suffix('%').unwrap_or(text).parse() {
        Ok(percent) if (1..=100).contains(&percent) => Ok(percent),
        _ if text == "none" => Ok(100),
        _ => Err("a whole number of percent from 1 to 100, or `none`".to_owned()),
    }
}

fn parse_interval(text: &str) -> Result<u32, String> {
    let size = units::parse_bytes(text)?;
    match u32::try_from(size) {
        Ok(size) if (MIN_INTERVAL..=MAX_INTERVAL).contains(&size) => Ok(size),
        _ => {
            Err("the interval must be from 1k to 1g; leave the flag out to record every allocation"
                .to_owned())
        }
    }
}

impl Args {
    /// Length of the recording. `None` means to the end of the command.
    pub fn duration(&self) -> Option<Duration> {
        self.duration.or(self.command.is_empty().then_some(DEFAULT_DURATION))
    }

    /// The options of the recording of `subject` that these flags describe.
    pub fn options(&self, subject: Subject) -> Options {
        Options {
            subject,
            output: OutputFile { path: self.output.clone(), replace: self.force },
            duration: self.duration(),
            probes: self.probes,
            min_size_bytes: self.min_size,
            sample_bytes: self.sample_bytes,
            max_overhead_percent: (self.max_overhead < 100).then_some(self.max_overhead),
            keeps_events: self.events,
            memo: self.memo,
            looks: Looks {
                takes_censuses: true,
                holders_pause: self.holders.then(|| self.max_pause.unwrap_or(MAX_PAUSE)),
            },
        }
    }

    /// Do the flags go together?
    ///
    /// # Errors
    /// One of them would do nothing.
    pub fn check(&self) -> Result<(), Failure> {
        if self.pid.is_none() && self.command.is_empty() {
            return Err(Failure::new(status::USAGE, "neither a process nor a command to record is named")
                .help("name one, as in tracer record -p PID, or tracer record -- java -jar app.jar; `tracer list` shows the JVMs"));
        }
        if self.sample_bytes.is_some() && self.probes == ProbeSet::Light {
            let what = "--sample-bytes: with --probes light no allocator call is watched, so there is nothing to sample";
            return Err(Failure::new(status::USAGE, what).help("leave one of the two out"));
        }
        if self.output.as_ref().is_some_and(|file| file.as_os_str().is_empty()) {
            return Err(Failure::new(status::USAGE, "-o: the file name is empty")
                .help("name a file, or leave -o out for tracer-NAME-PID-TIME.trec"));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations() {
        assert_eq!(parse_duration("90"), Ok(Duration::from_secs(90)));
        assert_eq!(parse_duration("5m"), Ok(Duration::from_secs(300)));
        for wrong in ["0", "0s", "", "-1", "100000000000000000000", "99999999h", "25h", "soon"] {
            assert!(parse_duration(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn percents() {
        for (text, percent) in [("1", 1), ("10", 10), ("10%", 10), ("100", 100), ("none", 100)] {
            assert_eq!(parse_percent(text), Ok(percent));
        }
        for wrong in ["0", "101", "-1", "", "0.5", "all"] {
            assert!(parse_percent(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn intervals() {
        assert_eq!(parse_interval("512k"), Ok(512 << 10));
        assert_eq!(parse_interval("1g"), Ok(1 << 30));
        for wrong in ["0", "1023", "1073741825", "5g", "", "-1"] {
            assert!(parse_interval(wrong).is_err(), "{wrong}");
        }
    }
}
