//! Builds of `tracer` that are measured beside each other, in turns within one run.

use std::path::PathBuf;

use anyhow::Result;
use clap::Args;

use crate::tracer_record;

#[derive(Args)]
pub(crate) struct Builds {
    /// A build of tracer to measure, besides this one; may be given again
    #[arg(long = "build", value_name = "TRACER")]
    others: Vec<PathBuf>,
}

impl Builds {
    /// The builds, the one beside this program last.
    pub(crate) fn all(&self) -> Result<Vec<PathBuf>> {
        Ok(self.others.iter().cloned().chain([tracer_record::tracer()?]).collect())
    }
}
