//! What the turns come to: medians, and ratios to the turns around each, with their spread.

use std::time::Duration;

use anyhow::Result;
use serde::Serialize;

use super::shares::Shares;
use crate::census::Census;
use crate::machine::Conditions;
use crate::render::{mib, number, table};
use crate::statistics::{Spread, median};

/// Results of `bench server`.
#[derive(Serialize)]
pub(crate) struct Results {
    schema: &'static str,
    #[serde(flatten)]
    conditions: Conditions,
    tomcat: String,
    connections: u8,
    steady_rate_per_s: f64,
    untraced: Row,
    variants: Vec<Row>,
    censuses: Censuses,
    /// All turns, in the order in which they were taken.
    turns: Vec<Turn>,
}

/// One turn of the load.
#[derive(Serialize)]
pub(super) struct Turn {
    /// Number of what went on beside the load; `None`: nothing.
    pub(super) variant: Option<usize>,
    /// Saturated, just after attaching.
    pub(super) first: Option<Window>,
    /// Saturated, in the course of the recording.
    pub(super) saturated: Option<Window>,
    pub(super) steady: Window,
    /// Times of censuses that were taken meanwhile.
    #[serde(skip)]
    pub(super) censuses: Vec<Duration>,
    /// The last one, taken after that under the same load, and held against the server's resident memory.
    #[serde(skip)]
    pub(super) checked: Option<Census>,
}

/// Readings of one load.
#[derive(Clone, Copy, Default, Serialize)]
pub(super) struct Window {
    pub(super) requests_per_s: f64,
    /// CPU time of the server for each request.
    pub(super) cpu_us: f64,
    pub(super) p50_ms: f64,
    pub(super) p99_ms: f64,
    pub(super) shares: Shares,
}

/// Results of one variant.
#[derive(Serialize)]
struct Row {
    name: String,
    first: Option<Measured>,
    saturated: Option<Measured>,
    steady: Option<Measured>,
}

/// Medians of one load, and how they compare with the turns around each.
#[derive(Serialize)]
struct Measured {
    requests_per_s: f64,
    cpu_us_per_request: f64,
    p50_ms: f64,
    p99_ms: f64,
    /// Requests that the saturated server did not answer, of those that it answers alone.
    loss_percent: Spread,
    more_cpu_percent: Spread,
    p99_ratio: Spread,
    shares: Shares,
}

#[derive(Serialize)]
struct Censuses {
    count: usize,
    median_ms: f64,
    longest_ms: f64,
    resident_peak_bytes: u64,
    off_percent_at_most: f64,
}

impl Results {
    /// Results of these turns, of which each second one is untraced, the first and the last too.
    ///
    /// # Errors
    /// A census has no parts.
    pub(super) fn new(
        conditions: Conditions,
        tomcat: String,
        connections: u8,
        steady_rate_per_s: f64,
        names: Vec<String>,
        turns: Vec<Turn>,
    ) -> Result<Self> {
        let row = |(number, name): (usize, String)| row(name, number, &turns);
        Ok(Self {
            schema: "tracer.bench.server/2",
            conditions,
            tomcat,
            connections,
            steady_rate_per_s,
            untraced: row_of_untraced(&turns),
            variants: names.into_iter().enumerate().map(row).collect(),
            censuses: Censuses::of(&turns)?,
            turns,
        })
    }
}

/// Medians of what is measured with the load alone.
fn row_of_untraced(turns: &[Turn]) -> Row {
    let alone = |of: fn(&Turn) -> Option<Window>| {
        let windows: Vec<Window> =
            turns.iter().filter(|turn| turn.variant.is_none()).filter_map(of).collect();
        Measured::of(&windows.iter().map(|window| (*window, *window)).collect::<Vec<_>>())
    };
    Row {
        name: "untraced".to_owned(),
        first: None,
        saturated: alone(|turn| turn.saturated),
        steady: alone(|turn| Some(turn.steady)),
    }
}

/// A variant's medians, and its ratios to the means of the turns before and after it.
fn row(name: String, variant: usize, turns: &[Turn]) -> Row {
    let triples = || {
        let triples = turns.windows(3).filter_map(|turns| <&[Turn; 3]>::try_from(turns).ok());
        triples.filter(|[_, turn, _]| turn.variant == Some(variant))
    };
    // The seconds after attaching have no counterpart: the load was saturated then too.
    let measured = |of: fn(&Turn) -> Option<Window>, alone: fn(&Turn) -> Option<Window>| {
        let pairs = triples().filter_map(|[before, turn, after]| {
            Some((of(turn)?, Window::mean(&alone(before)?, &alone(after)?)))
        });
        Measured::of(&pairs.collect::<Vec<_>>())
    };
    Row {
        name,
        first: measured(|turn| turn.first, |turn| turn.saturated),
        saturated: measured(|turn| turn.saturated, |turn| turn.saturated),
        steady: measured(|turn| Some(turn.steady), |turn| Some(turn.steady)),
    }
}

impl Window {
    /// The mean of two, but for their shares, which nothing is compared with.
    fn mean(one: &Self, other: &Self) -> Self {
        let mean = |of: fn(&Self) -> f64| f64::midpoint(of(one), of(other));
        Self {
            requests_per_s: mean(|window| window.requests_per_s),
            cpu_us: mean(|window| window.cpu_us),
            p50_ms: mean(|window| window.p50_ms),
            p99_ms: mean(|window| window.p99_ms),
            shares: Shares::default(),
        }
    }
}

impl Measured {
    /// Results of pairs: of what was measured, and with the load alone around it. `None` of none.
    fn of(pairs: &[(Window, Window)]) -> Option<Self> {
        let of = |value: fn(&Window) -> f64| {
            median(&pairs.iter().map(|(taken, _)| value(taken)).collect::<Vec<_>>())
        };
        let ratios = |value: fn(&Window) -> f64, from: &dyn Fn(f64) -> f64| {
            let ratios = pairs.iter().map(|(taken, alone)| from(value(taken) / value(alone)));
            Spread::of(&ratios.collect::<Vec<_>>())
        };
        (!pairs.is_empty()).then(|| Self {
            requests_per_s: of(|window| window.requests_per_s),
            cpu_us_per_request: of(|window| window.cpu_us),
            p50_ms: of(|window| window.p50_ms),
            p99_ms: of(|window| window.p99_ms),
            loss_percent: ratios(|window| window.requests_per_s, &|ratio| 100.0 * (1.0 - ratio)),
            more_cpu_percent: ratios(|window| window.cpu_us, &|ratio| 100.0 * (ratio - 1.0)),
            p99_ratio: ratios(|window| window.p99_ms, &|ratio| ratio),
            shares: Shares::median(&pairs.iter().map(|(taken, _)| taken.shares).collect::<Vec<_>>()),
        })
    }
}

impl Censuses {
    fn of(turns: &[Turn]) -> Result<Self> {
        let times = turns.iter().flat_map(|turn| &turn.censuses).map(|time| time.as_secs_f64() * 1e3);
        let times: Vec<f64> = times.collect();
        let checked = || turns.iter().filter_map(|turn| turn.checked.as_ref());
        let offs = checked().map(Census::off_percent).collect::<Result<Vec<_>>>()?;
        Ok(Self {
            count: times.len(),
            median_ms: median(&times),
            longest_ms: times.into_iter().fold(0.0, f64::max),
            resident_peak_bytes: checked().map(|census| census.ended.resident_peak_bytes).max().unwrap_or(0),
            off_percent_at_most: offs.into_iter().fold(0.0, f64::max),
        })
    }
}

/// The results as a person reads them.
pub(crate) fn tables(results: &Results) -> String {
    let rows = || std::iter::once(&results.untraced).chain(&results.variants);
    // Untraced turns are what the others are compared with.
    let spread = |row: &Row, spread: Spread| match row.first.is_none() && row.saturated.is_some() {
        true => String::new(),
        false => spread.describe(),
    };
    let saturated = rows().filter_map(|row| {
        let measured = row.saturated.as_ref()?;
        Some(vec![
            row.name.clone(),
            row.first.as_ref().map_or_else(String::new, |first| first.loss_percent.describe()),
            number(measured.requests_per_s),
            spread(row, measured.loss_percent),
            number(measured.cpu_us_per_request),
            spread(row, measured.more_cpu_percent),
        ])
    });
    let head =
        ["saturated", "loss just after attaching, %", "requests/s", "loss, %", "CPU µs a request", "more, %"];
    let saturated = table(&head, saturated);
    let steady = rows().filter_map(|row| {
        let measured = row.steady.as_ref()?;
        Some(vec![
            row.name.clone(),
            number(measured.requests_per_s),
            format!("{:.2}", measured.p50_ms),
            format!("{:.2}", measured.p99_ms),
            spread(row, measured.p99_ratio),
            number(measured.cpu_us_per_request),
            spread(row, measured.more_cpu_percent),
        ])
    });
    let head = ["steady", "requests/s", "p50, ms", "p99, ms", "×", "CPU µs a request", "more, %"];
    let steady = table(&head, steady);
    let in_load = |load: &'static str, of: fn(&Row) -> Option<&Measured>| {
        rows().filter_map(move |row| {
            let percents = of(row)?.shares.percents().map(|percent| format!("{percent:.1}"));
            Some(std::iter::once(format!("{load}, {}", row.name)).chain(percents).collect())
        })
    };
    let shares = in_load("just after attaching", |row| row.first.as_ref())
        .chain(in_load("saturated", |row| row.saturated.as_ref()))
        .chain(in_load("steady", |row| row.steady.as_ref()));
    let head: Vec<&str> = std::iter::once("% of one CPU").chain(Shares::NAMES).collect();
    let shares = table(&head, shares);
    format!(
        "{}; Tomcat {}, {} connections\n\n{saturated}\n{steady}\n{shares}\n{}",
        results.conditions.describe(),
        results.tomcat,
        results.connections,
        results.censuses.table()
    )
}

impl Censuses {
    fn table(&self) -> String {
        let row = |name: &str, value: String| vec![name.to_owned(), value];
        let rows = [
            row("censuses, none of which failed", self.count.to_string()),
            row("time of one, ms", number(self.median_ms)),
            row("the longest, ms", number(self.longest_ms)),
            row("its memory, at most", mib(self.resident_peak_bytes)),
            row("parts from resident memory, %, at most", format!("{:.2}", self.off_percent_at_most)),
        ];
        table(&["under the steady load", "measured"], rows)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn turn(variant: Option<usize>, requests_per_s: f64) -> Turn {
        let window = Window { requests_per_s, cpu_us: 1e6 / requests_per_s, ..Window::default() };
        let first = variant.map(|_| window);
        Turn { variant, first, saturated: Some(window), steady: window, censuses: Vec::new(), checked: None }
    }

    #[test]
    fn a_loss_is_of_the_turns_around_it() {
        // The machine becomes slower all the time, and is half as fast in the end.
        let turns = [
            turn(None, 1100.0),
            turn(Some(0), 800.0),
            turn(None, 900.0),
            turn(Some(1), 700.0),
            turn(None, 500.0),
            turn(Some(0), 360.0),
            turn(None, 400.0),
        ];
        let losses = |variant| row("v".to_owned(), variant, &turns).saturated.map(|of| of.loss_percent);
        let near = |spread: Option<Spread>, percent: f64| {
            spread.is_some_and(|spread| (spread.median - percent).abs() < 1e-9)
        };
        assert!(near(losses(0), 20.0) && near(losses(1), 0.0), "{:?} {:?}", losses(0), losses(1));
        let more = row("v".to_owned(), 0, &turns).steady.map(|of| of.more_cpu_percent);
        assert!(more.is_some_and(|more| more.median > 20.0), "{more:?}");
        assert_eq!(row_of_untraced(&turns).saturated.map(|of| of.requests_per_s), Some(700.0));
        assert!(losses(2).is_none());
    }
}
