//! Filters and views: the flags that say which allocations a report or a comparison is about.

use clap::Args;
use regex::Regex;
use std::time::Duration;

use super::failure::{Failure, status};
use super::values;
use crate::output::{View, clean, units};
use crate::profile::{Filter, Filtered, LinePattern, Part, Refusal};

/// Names that are listed where one was asked for that is not there.
const LISTED: usize = 10;

/// The flags.
#[derive(Clone, Debug, Default, Args)]
#[command(next_help_heading = "Filters (one flag several times: any may fit; different flags: all must)")]
pub struct FilterArgs {
    /// Quantity to look at [default: live]
    #[arg(long, value_enum, value_name = "VIEW")]
    pub view: Option<View>,

    /// Only this category, by its id (zlib, thread-stack, native:libfoo.so, ...)
    #[arg(long, value_name = "ID")]
    pub category: Vec<String>,

    /// Only what this line of code allocates: Class.method or Class.method:LINE
    #[arg(long, value_name = "LINE", value_parser = values::line)]
    pub line: Vec<LinePattern>,

    /// Only stacks with a frame whose function or module matches
    #[arg(long, value_name = "REGEX", value_parser = values::pattern)]
    pub include: Vec<Regex>,

    /// Only stacks without such a frame
    #[arg(long, value_name = "REGEX", value_parser = values::pattern)]
    pub exclude: Vec<Regex>,

    /// Only what threads of such names allocated and nobody freed
    #[arg(long, value_name = "REGEX", value_parser = values::pattern)]
    pub thread: Vec<Regex>,

    /// Only what is not freed and was allocated this long before the end (90, 90s, 5m)
    #[arg(long, value_name = "TIME", value_parser = values::time)]
    pub older: Option<Duration>,

    /// Only what is not freed, in allocations of at least this many bytes each (512, 4k, 1m)
    #[arg(long, value_name = "SIZE", value_parser = units::parse_bytes)]
    pub min_size: Option<u64>,
}

/// The range of time that it is about.
#[derive(Clone, Copy, Debug, Default, Args)]
pub struct RangeArgs {
    /// Only what was allocated after this time of the recording (90, 90s, 5m)
    #[arg(long, value_name = "TIME", value_parser = values::time)]
    pub from: Option<Duration>,

    /// Only what was allocated before this time of the recording, as it was then
    #[arg(long, visible_alias = "until", value_name = "TIME", value_parser = values::time)]
    pub to: Option<Duration>,
}

/// The same of `push`, whose `--to` is a server.
#[derive(Clone, Copy, Debug, Default, Args)]
pub struct PushRangeArgs {
    /// Only what was allocated after this time of the recording (90, 90s, 5m)
    #[arg(long, value_name = "TIME", value_parser = values::time)]
    pub from: Option<Duration>,

    /// Only what was allocated before this time of the recording, as it was then
    #[arg(long, value_name = "TIME", value_parser = values::time)]
    pub until: Option<Duration>,
}

impl From<PushRangeArgs> for RangeArgs {
    fn from(range: PushRangeArgs) -> Self {
        Self { from: range.from, to: range.until }
    }
}

impl FilterArgs {
    /// Quantity to look at.
    pub(super) fn view(&self) -> View {
        self.view.unwrap_or_default()
    }

    /// The categories that were asked for, in words.
    pub(super) fn category(&self) -> Option<String> {
        (!self.category.is_empty()).then(|| self.category.join(", "))
    }

    /// The filter that the flags mean.
    ///
    /// # Errors
    /// No recording can answer two flags together.
    pub(super) fn filter(&self, range: RangeArgs) -> Result<Filter, Failure> {
        let part = Part {
            older_ns: self.older.map(nanoseconds),
            min_bytes: self.min_size,
            threads: self.thread.clone(),
            from_ns: range.from.map(nanoseconds),
            to_ns: range.to.map(nanoseconds),
            is_peak: self.view() == View::Peak,
        };
        part.check().map_err(|refusal| {
            let help = match refusal {
                Refusal::NoTime => "times are since the recording began, as in --from 10s --to 30s",
                _ => "leave one of the two out",
            };
            Failure::new(status::USAGE, refusal).help(help)
        })?;
        if let (Some(name), View::Allocated | View::Temporary) = (part.of_end(), self.view()) {
            let view = self.view().as_str();
            let error =
                format!("{name} with --view {view}: a recording keeps that of what is not freed alone");
            return Err(Failure::new(status::USAGE, error).help("leave one of the two out"));
        }
        Ok(Filter {
            categories: self.category.clone(),
            lines: self.line.clone(),
            include: self.include.clone(),
            exclude: self.exclude.clone(),
            part,
            flags: self.flags(range),
        })
    }

    /// The flags as they were given, for outputs.
    fn flags(&self, range: RangeArgs) -> Vec<String> {
        let time = |time: &Duration| humantime::format_duration(*time).to_string();
        let mut flags: Vec<String> = self.category.iter().map(|id| format!("--category {id}")).collect();
        flags.extend(self.line.iter().map(|line| format!("--line {line}")));
        for (name, patterns) in
            [("--include", &self.include), ("--exclude", &self.exclude), ("--thread", &self.thread)]
        {
            flags.extend(patterns.iter().map(|pattern| format!("{name} {pattern}")));
        }
        flags.extend(self.older.iter().map(|age| format!("--older {}", time(age))));
        flags.extend(self.min_size.map(|bytes| format!("--min-size {bytes}")));
        flags.extend(range.from.iter().map(|from| format!("--from {}", time(from))));
        flags.extend(range.to.iter().map(|to| format!("--to {}", time(to))));
        flags.extend((self.view() == View::Peak).then(|| "--view peak".to_owned()));
        flags
    }

    /// The first flag of recordings alone.
    pub(super) fn first(&self, range: RangeArgs) -> Option<&'static str> {
        let given = [
            (self.view.is_some(), "--view"),
            (!self.category.is_empty(), "--category"),
            (!self.line.is_empty(), "--line"),
            (!self.include.is_empty(), "--include"),
            (!self.exclude.is_empty(), "--exclude"),
            (!self.thread.is_empty(), "--thread"),
            (self.older.is_some(), "--older"),
            (self.min_size.is_some(), "--min-size"),
            (range.from.is_some(), "--from"),
            (range.to.is_some(), "--to"),
        ];
        given.into_iter().find(|(is_given, _)| *is_given).map(|(_, name)| name)
    }
}

/// Refuses names of categories and lines that none of the files has.
///
/// # Errors
/// There is one.
pub(super) fn check_names(files: &str, of_files: &[&Filtered]) -> Result<(), Failure> {
    let in_none = |names: fn(&Filtered) -> &Vec<String>| {
        let first = names(of_files.first()?);
        first.iter().find(|name| of_files.iter().all(|file| names(file).contains(name)))
    };
    let known = |names: fn(&Filtered) -> &Vec<String>| {
        let mut known: Vec<&str> = Vec::new();
        for name in of_files.iter().flat_map(|file| names(file)) {
            if !known.contains(&name.as_str()) {
                known.push(name);
            }
        }
        known
    };
    if let Some(id) = in_none(|file| &file.no_categories) {
        let known = known(|file| &file.known_categories);
        let ids = if known.is_empty() { "none".to_owned() } else { clean(&known.join(", ")).into_owned() };
        return Err(Failure::new(status::USAGE, format!("{files}: no category `{}`", clean(id)))
            .help(format!("the categories are: {ids}")));
    }
    if let Some(line) = in_none(|file| &file.no_lines) {
        let known = known(|file| &file.known_lines);
        let more = known.len().saturating_sub(LISTED);
        let known: Vec<&str> = known.into_iter().take(LISTED).collect();
        let more = if more > 0 { format!(", and {more} more") } else { String::new() };
        let lines = if known.is_empty() { "none".to_owned() } else { clean(&known.join(", ")).into_owned() };
        return Err(Failure::new(status::USAGE, format!("{files}: no line `{}`", clean(line)))
            .help(format!("the lines are: {lines}{more}")));
    }
    Ok(())
}

/// A recording that cannot answer.
pub(super) fn refused(file: &std::path::Path, refusal: &Refusal) -> Failure {
    let (status, help) = match refusal {
        Refusal::BeyondEnd { .. } | Refusal::NoRange { .. } => {
            (status::USAGE, "times are since the recording began; `tracer report FILE` tells its length")
        }
        _ => (status::FAILED, "record again with this tracer, to the end; or leave the flag out"),
    };
    Failure::new(status, format!("{}: {refusal}", file.display())).help(help)
}

fn nanoseconds(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}
