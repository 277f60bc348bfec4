//! Placing, loading and attaching probes; with `ingest`'s ring the only user of aya.
//!
//! Takes a target and what it needs watched; gives attached probes, which the kernel removes when this
//! process ends. The meaning of events is not its business.

pub mod attach;
mod bpf;
pub mod btf;
pub mod calibrate;
pub mod exit_points;
pub mod guard;
pub mod heartbeat;
pub mod kernel;
pub mod lifecycle;
mod links;
pub mod load;
pub mod log;
pub mod mapping_calls;
pub mod multi;
mod perf_event;
pub mod placement;
pub mod plan;
pub mod points;
pub mod probes;
pub mod rows;
pub mod run_times;
pub mod tracefs;

use std::{error::Error, io, iter};

use aya::{EbpfError, maps::MapError, programs::ProgramError};

/// Reason why probes could not be loaded or attached.
#[derive(Debug, thiserror::Error)]
pub enum ProbeError {
    /// Built without a BPF toolchain.
    #[error("this build of tracer has no BPF programs")]
    NoPrograms,
    /// The object was refused as a whole.
    #[error("the kernel refuses the BPF object")]
    Load(#[source] Box<EbpfError>),
    /// The kernel refused one program.
    #[error("the kernel refuses the BPF program {name}")]
    Program {
        /// The program.
        name: String,
        /// Reason of the refusal.
        #[source]
        source: Box<ProgramError>,
    },
    /// A map that the object should have is not in it.
    #[error("the BPF object has no map {0}")]
    MissingMap(&'static str),
    /// The session is over.
    #[error("the probes were detached")]
    Detached,
    /// A map operation failed.
    #[error("a BPF map operation failed")]
    Map(#[from] MapError),
    /// A probe could not be placed.
    #[error("cannot attach {probe}")]
    Attach {
        /// The place that was to be probed.
        probe: String,
        /// Reason why it was not attached.
        #[source]
        source: Box<ProgramError>,
    },
    /// A function that must be probed has no place for it.
    #[error("cannot probe {function}")]
    Unplaced {
        /// The function, and the file that it is in.
        function: String,
        /// Reason why it has no place.
        #[source]
        source: placement::PlacementError,
    },
    /// A file or system call failed.
    #[error("{what}")]
    Io {
        /// The work that was being done.
        what: String,
        /// Reason why it failed.
        #[source]
        source: std::io::Error,
    },
}

impl ProbeError {
    /// Has the kernel no memory for the programs' tables? They count in tracer's control group, whose limit a check does
    /// not come near.
    pub fn is_out_of_memory(&self) -> bool {
        let causes = iter::successors(Some(self as &(dyn Error + 'static)), |&error| error.source());
        let number = |error: &(dyn Error + 'static)| error.downcast_ref::<io::Error>()?.raw_os_error();
        causes.filter_map(number).any(|number| number == libc::ENOMEM)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_without_memory_is_told_from_one_that_is_refused() {
        let refused = |number| {
            let io_error = io::Error::from_raw_os_error(number);
            let error = MapError::CreateError { name: "LIVE".to_owned(), io_error };
            ProbeError::Load(Box::new(EbpfError::MapError(error)))
        };
        assert!(refused(libc::ENOMEM).is_out_of_memory());
        assert!(!refused(libc::EPERM).is_out_of_memory());
    }
}
