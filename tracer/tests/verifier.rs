//! Every BPF program is accepted by the running kernel's verifier, within a budget of instructions.

use tracer::probe::load::{self, Sizes};
use tracer_common::config::Config;

#[test]
fn every_program_loads() {
    let config =
        Config { tgid: 1, max_frames: 1024, slots_per_cpu: 4, cpu_count: 2, mm_xol_area: 1, ..Config::ZERO };
    let ebpf = load::load(&config, Sizes::default()).unwrap_or_else(|e| {
        let mut s = format!("{e}");
        let mut src = std::error::Error::source(&e);
        while let Some(x) = src {
            s += &format!("\n{x}");
            src = x.source();
        }
        panic!("{s}")
    });
    for (name, n) in load::verified_instructions(&ebpf).unwrap() {
        println!("{name}: {n}");
    }
}
