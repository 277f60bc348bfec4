//! Keeps what recording takes from the target within its budget.

use tracer_common::sampling::OFF;

use super::Capture;
use crate::{
    cli::failure::{Failure, status},
    recording::Step,
    session::budget::Level,
    units,
};

impl Capture {
    /// Is it measured what recording takes?
    pub(in crate::cli::record) fn is_metered(&self) -> bool {
        self.attached.meter.is_some()
    }

    /// Begins to measure.
    pub(in crate::cli::record) fn open_window(&mut self, time_ns: u64) {
        if let Some(meter) = &mut self.attached.meter {
            meter.open(time_ns, &mut self.attached.probes);
        }
    }

    /// Ends that, and records less if it was too much for too long. True: nothing is recorded any more.
    ///
    /// # Errors
    /// The kernel refuses, or the recording cannot be written.
    pub(in crate::cli::record) fn close_window(&mut self, now_ns: fn() -> u64) -> Result<bool, Failure> {
        let mean_bytes = self.written.mean_bytes();
        let Some(meter) = &mut self.attached.meter else { return Ok(false) };
        let too_much = meter.close(now_ns(), &mut self.attached.probes, mean_bytes);
        self.writer.overhead(meter.overhead())?;
        let Some((level, percent)) = too_much else { return Ok(false) };
        let limit = meter.limit_percent();
        let (name, what) = match level {
            Level::Exact => return Ok(false),
            Level::Sampled(bytes) => {
                self.set_sampling(bytes)?;
                self.sample_bytes = Some(bytes);
                let size = units::bytes(bytes.into());
                ("sampled", format!("from here on one allocation in about {size} is recorded"))
            }
            Level::Light => {
                self.set_sampling(OFF)?;
                let detached = self.attached.probes.detach_allocator();
                detached.map_err(|error| Failure::caused(status::FAILED, &error))?;
                (
                    "light",
                    "malloc and its like are left alone: the allocator's rows stay as they are here"
                        .to_owned(),
                )
            }
            Level::Detached => ("detached", "the recording ends".to_owned()),
        };
        let text =
            format!("recording took {percent} % of the target's CPU time, more than {limit} %: {what}");
        eprintln!("budget: {text}");
        self.steps.push(Step {
            time_ns: now_ns(),
            level: name.to_owned(),
            sample_bytes: self.sample_bytes.map(u64::from),
            overhead_percent: percent,
            text,
        });
        self.writer.steps(&self.steps, self.sample_bytes.map(u64::from))?;
        Ok(level == Level::Detached)
    }

    fn set_sampling(&mut self, interval_bytes: u32) -> Result<(), Failure> {
        let set = self.attached.tables.set_sampling(interval_bytes);
        set.map_err(|error| Failure::caused(status::FAILED, &error))
    }
}
