//! Steps of the budget: the overhead of recording is measured in windows, and answered by recording less.
//!
//! Does what `session::budget` decides: sampling, no probes on the allocator, or the end.

use tracer_common::sampling::OFF;

use super::{
    ErrorKind, Notice, Notify, Options, RecordError,
    attach::Attached,
    meter::{Meter, Took},
    monotonic_ns,
};
use crate::process::Pid;
use crate::{
    probe::probes::Probes,
    recording::{BudgetStep, Writer},
    session::budget::Level,
    units,
};

/// See the module.
pub(super) struct OverheadControl {
    /// `None` if the overhead is not limited, or cannot be measured.
    meter: Option<Meter>,
    /// `None` if every allocation was recorded so far.
    sample_bytes: Option<u32>,
    /// Steps that were taken to keep to the budget.
    steps: Vec<BudgetStep>,
}

impl OverheadControl {
    /// A control for process `pid`. If the overhead cannot be measured, that becomes a note of `probes`.
    pub(super) fn new(pid: Pid, options: &Options, probes: &mut Probes) -> Self {
        let meter = options.max_overhead_percent.and_then(|percent| {
            Meter::new(pid, percent, options.level(), probes)
                .inspect_err(|error| {
                    let text = format!(
                        "--max-overhead is not kept to: what recording takes cannot be measured: {error}"
                    );
                    tracing::warn!("{text}");
                    probes.note(&text);
                })
                .ok()
        });
        Self { meter, sample_bytes: options.sample_bytes, steps: Vec::new() }
    }

    /// Is the overhead measured?
    pub(super) fn is_metered(&self) -> bool {
        self.meter.is_some()
    }

    /// The interval of sampling, bytes. `None` if every allocation was recorded so far.
    pub(super) fn sample_bytes(&self) -> Option<u32> {
        self.sample_bytes
    }

    /// Overhead so far, percent of the target's CPU time. `None` if it was not measured.
    pub(super) fn percent(&self) -> Option<f64> {
        let overhead = self.meter.as_ref()?.overhead();
        (overhead.target_ns > 0).then(|| overhead.probes_ns as f64 * 100.0 / overhead.target_ns as f64)
    }

    /// Opens a measuring window.
    pub(super) fn open_window(&mut self, time_ns: u64, probes: &mut Probes) {
        if let Some(meter) = &mut self.meter {
            meter.open(time_ns, probes);
        }
    }

    /// Closes the measuring window. If overhead exceeded the budget for 2 s, lowers the recording level. Returns true
    /// when recording has ended. `mean_bytes`: size of an allocation, on average.
    ///
    /// # Errors
    /// The kernel refuses, or the recording cannot be written.
    pub(super) fn close_window(
        &mut self,
        mean_bytes: u64,
        attached: &mut Attached,
        writer: &mut Writer,
        notify: &mut Notify,
    ) -> Result<bool, RecordError> {
        let Some(meter) = &mut self.meter else { return Ok(false) };
        let too_much = meter.close(monotonic_ns(), &mut attached.probes, mean_bytes);
        writer.overhead(meter.overhead())?;
        let limit = meter.limit_percent();
        let Some((level, Took { percent, beside_percent })) = too_much else { return Ok(false) };
        let (name, what) = match level {
            Level::Exact => return Ok(false),
            Level::Sampled(bytes) => {
                set_sampling(attached, bytes)?;
                self.sample_bytes = Some(bytes);
                let size = units::bytes(bytes.into());
                ("sampled", format!("from here on one allocation in about {size} is recorded"))
            }
            Level::Light => {
                set_sampling(attached, OFF)?;
                attached.probes.detach_allocator()?;
                let what = "malloc and its like are left alone: the allocator's rows stay as they are here";
                ("light", what.to_owned())
            }
            Level::Detached => ("detached", "the recording ends".to_owned()),
        };
        let beside = match beside_percent {
            0 => String::new(),
            beside => format!(" ({beside} % beside it: of the recorder, and of probes in other processes)"),
        };
        let text = format!(
            "recording took {percent} % of the target's CPU time{beside}, more than {limit} %: {what}"
        );
        notify(Notice::BudgetStep { text: text.clone() });
        self.steps.push(BudgetStep {
            time_ns: monotonic_ns(),
            level: name.to_owned(),
            sample_bytes: self.sample_bytes.map(u64::from),
            overhead_percent: percent,
            text,
        });
        writer.steps(&self.steps, self.sample_bytes.map(u64::from))?;
        Ok(level == Level::Detached)
    }
}

fn set_sampling(attached: &mut Attached, interval_bytes: u32) -> Result<(), RecordError> {
    let set = attached.tables.set_sampling(interval_bytes);
    set.map_err(|error| RecordError::caused(ErrorKind::Failed, &error))
}
