//! `cargo xtask kills`: recorder and target killed at random moments, under load.

use anyhow::{Result, bail};

use crate::{build, shell, test};

#[derive(clap::Args)]
pub(crate) struct Options {
    /// Number of kills
    #[arg(long, default_value_t = 300)]
    count: u64,
    /// Programs that take all CPU time that they can get, meanwhile
    #[arg(long, default_value_t = 2)]
    load: u64,
    /// Seed of the moments, and of who is killed
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

pub(crate) fn run(options: &Options) -> Result<()> {
    if !shell::is_root() {
        bail!("recording needs root\nhelp: sudo -E cargo xtask kills");
    }
    build::bpf_object(false)?;
    let mut test = test::alone("kills", &[], &["--ignored"]);
    let numbers = [
        ("TRACER_KILLS", options.count),
        ("TRACER_KILLS_LOAD", options.load),
        ("TRACER_KILLS_SEED", options.seed),
    ];
    test.envs(numbers.map(|(name, value)| (name, value.to_string())));
    shell::run(&mut test)
}
