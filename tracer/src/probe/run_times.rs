//! Run counts and run times of the programs, by the kernel's own statistics.
//!
//! They cost each run some tens of ns, so they are on only as long as a [`Counting`] lives.

use std::os::fd::OwnedFd;

use aya::{
    programs::ProgramError,
    sys::{Stats, enable_stats},
};

use super::{ProbeError, load::Facts, probes::Probes};

/// Runs of one program since it was loaded, as far as they were counted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Runs {
    pub program: String,
    pub count: u64,
    /// Time by the clock: with what else the CPU did meanwhile.
    pub time_ns: u64,
}

/// The kernel counts as long as this lives.
pub struct Counting {
    _on: OwnedFd,
}

impl Counting {
    /// Switches the kernel's statistics on.
    ///
    /// # Errors
    /// It needs CAP_SYS_ADMIN.
    pub fn start() -> Result<Counting, ProbeError> {
        match enable_stats(Stats::RunTime) {
            Ok(on) => Ok(Counting { _on: on }),
            Err(error) => Err(ProbeError::Program {
                name: "(statistics)".to_owned(),
                source: Box::new(ProgramError::SyscallError(error)),
            }),
        }
    }

    /// The kernel counts as long as `on` lives.
    pub(super) fn of(on: OwnedFd) -> Self {
        Self { _on: on }
    }

    /// The runs of every program of `probes`.
    ///
    /// # Errors
    /// The kernel does not tell, or the session is over.
    pub fn runs(&self, probes: &mut Probes) -> Result<Vec<Runs>, ProbeError> {
        let runs = |(program, facts): (String, Facts)| Runs {
            program,
            count: facts.run_count,
            time_ns: facts.run_time_ns,
        };
        Ok(probes.programs()?.facts()?.into_iter().map(runs).collect())
    }
}
