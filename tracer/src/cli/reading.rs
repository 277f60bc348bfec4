//! Recordings as they are read for a result: the flags that `report`, `diff` and `push` share, and the profile.

use std::mem::ManuallyDrop;
use std::path::{Path, PathBuf};

use clap::Args;

use super::failure::{Failure, status};
use super::filters::refused;
use crate::attribute::Rules;
use crate::profile::{Filter, Profile};
use crate::recording;

/// The flags.
#[derive(Clone, Debug, Default, Args)]
pub struct ReadingArgs {
    /// Rules of your own, tried before the built-in ones
    #[arg(long, value_name = "FILE")]
    pub rules: Option<PathBuf>,

    /// Leave out pids, the command line, paths, and names of threads and containers; classes stay
    #[arg(long)]
    pub redact: bool,
}

impl ReadingArgs {
    /// The profile of what of a recording passes, by the built-in rules and those of a file.
    ///
    /// # Errors
    /// One of the files cannot be read, or the recording does not keep what is asked for.
    pub(super) fn profile(&self, file: &Path, filter: &Filter) -> Result<ManuallyDrop<Profile>, Failure> {
        let rules = match &self.rules {
            Some(path) => Rules::load(path).map_err(|error| {
                Failure::new(status::FAILED, error).help("docs/attribution.md describes files of rules")
            })?,
            None => Rules::builtin(),
        };
        let recording = recording::read(file).map_err(|error| {
            let help = error.help();
            Failure::new(status::FAILED, error).help(help)
        })?;
        let mut profile =
            Profile::filtered(&recording, &rules, filter).map_err(|refusal| refused(file, &refusal))?;
        // A report is the last thing that the process does: to give back millions of small pieces one by one
        // takes as long as a third of the work.
        std::mem::forget(recording);
        if self.redact {
            profile.redact();
        }
        Ok(ManuallyDrop::new(profile))
    }
}
