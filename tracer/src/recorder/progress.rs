//! The progress of a recording, for a caller that shows it.

use std::{collections::VecDeque, time::Duration};

/// Time over which growth is told.
const SPAN: Duration = Duration::from_secs(10);

/// Progress of a recording.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Progress {
    /// Time since recording began.
    pub elapsed: Duration,
    /// `None` if it has no end of its own.
    pub left: Option<Duration>,
    pub numbers: Numbers,
    /// Growth of the bytes that are not freed, per second, over the last 10 s. `None` if the time is too short to tell.
    pub growth_bytes_per_s: Option<i64>,
}

/// Numbers of a recording under way.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Numbers {
    /// Allocated in the session and not freed, bytes; an estimate where sampled.
    pub live_bytes: u64,
    /// Events, stacks and allocations that were lost.
    pub lost_count: u64,
    /// Share that recording takes of the target's CPU time, percent. `None` if it was not measured.
    pub overhead_percent: Option<f64>,
}

/// Turns numbers into progress: knows what they were some seconds ago.
pub(super) struct ProgressMeter {
    duration: Option<Duration>,
    /// Elapsed time and live bytes, oldest first.
    history: VecDeque<(Duration, u64)>,
}

impl ProgressMeter {
    /// Progress of a recording of this length.
    pub(super) fn new(duration: Option<Duration>) -> Self {
        Self { duration, history: VecDeque::new() }
    }

    /// Takes in the numbers of a moment.
    pub(super) fn observe(&mut self, elapsed: Duration, numbers: Numbers) -> Progress {
        self.history.push_back((elapsed, numbers.live_bytes));
        // The oldest is one that is at least SPAN old.
        while self.history.get(1).is_some_and(|(then, _)| elapsed.saturating_sub(*then) >= SPAN) {
            self.history.pop_front();
        }
        let growth_bytes_per_s = self.history.front().and_then(|&(then, bytes)| {
            let span = elapsed.saturating_sub(then);
            let grown = i128::from(numbers.live_bytes) - i128::from(bytes);
            (span >= Duration::from_secs(1)).then(|| (grown * 1_000 / span.as_millis() as i128) as i64)
        });
        Progress {
            elapsed,
            left: self.duration.map(|duration| duration.saturating_sub(elapsed)),
            numbers,
            growth_bytes_per_s,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn growth_is_that_of_the_last_seconds() {
        let mut meter = ProgressMeter::new(Some(Duration::from_secs(60)));
        let mut observe = |seconds, live_bytes| {
            let numbers = Numbers { live_bytes, ..Numbers::default() };
            meter.observe(Duration::from_secs(seconds), numbers)
        };
        assert_eq!(observe(0, 0).growth_bytes_per_s, None);
        for second in 1..=20 {
            assert_eq!(observe(second, second * 1_000).growth_bytes_per_s, Some(1_000));
        }
        // Ten seconds later nothing of the growth is left.
        for second in 21..=30 {
            observe(second, 20_000);
        }
        assert_eq!(observe(30, 20_000).growth_bytes_per_s, Some(0));
        let last = observe(61, 0);
        assert_eq!(last.left, Some(Duration::ZERO));
        assert!(last.growth_bytes_per_s.is_some_and(|growth| growth < 0));
    }
}
