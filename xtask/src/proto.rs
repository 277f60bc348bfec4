//! `cargo xtask proto`: the Rust code of the protobuf formats, made from their descriptions in `tracer/proto`.
//!
//! Its generators are compiled only for this (feature `proto`): nothing else in this program needs them.

use anyhow::Result;
use clap::Args;

#[derive(Args)]
pub(crate) struct Options {
    /// Write nothing, and fail if the code is not what its description makes
    #[arg(long)]
    pub(crate) check: bool,
}

/// Makes the code, by a build of this program that can.
#[cfg(not(feature = "proto"))]
pub(crate) fn run(options: &Options) -> Result<()> {
    let mut again = crate::shell::cargo();
    again.args(["run", "--quiet", "--package", "xtask", "--features", "proto", "--", "proto"]);
    if options.check {
        again.arg("--check");
    }
    crate::shell::run(&mut again)
}

#[cfg(feature = "proto")]
pub(crate) fn run(options: &Options) -> Result<()> {
    made::run(options)
}

#[cfg(feature = "proto")]
mod made {
    use std::fs;
    use std::path::Path;

    use anyhow::{Context, Result, bail};

    use super::Options;

    /// A description, and the code that is made of it.
    const FORMATS: [(&str, &str); 2] =
        [("pprof", "tracer/src/output/pprof/proto.rs"), ("otlp", "tracer/src/output/otlp/proto.rs")];

    pub(super) fn run(options: &Options) -> Result<()> {
        for (format, committed) in FORMATS {
            let code = generate(Path::new("tracer/proto"), format)?;
            if !options.check {
                fs::write(committed, code).with_context(|| format!("cannot write {committed}"))?;
            } else if fs::read_to_string(committed).ok().as_ref() != Some(&code) {
                bail!("{committed} is not what tracer/proto/{format}.proto makes\nhelp: cargo xtask proto");
            }
        }
        Ok(())
    }

    fn generate(folder: &Path, format: &str) -> Result<String> {
        let description = protox::compile([format!("{format}.proto")], [folder])?;
        let out = std::env::temp_dir().join(format!("tracer-proto-{}", std::process::id()));
        fs::create_dir_all(&out)?;
        prost_build::Config::new().out_dir(&out).compile_fds(description)?;
        let code = fs::read_to_string(out.join(format!("{format}.rs")));
        fs::remove_dir_all(&out)?;
        Ok(format!("//! Generated from `tracer/proto/{format}.proto` by `cargo xtask proto`.\n\n{}", code?))
    }
}
