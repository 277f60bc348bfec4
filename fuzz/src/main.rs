//! Fuzzing of all targets by one program; `TRACER_FUZZ_TARGET` says which. `cargo xtask fuzz` builds and runs it.
#![no_main]

#[expect(dead_code, reason = "what a target does not need of the parts that tests share")]
mod targets;

use std::sync::OnceLock;

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    static TARGET: OnceLock<targets::Target> = OnceLock::new();
    let target = TARGET.get_or_init(|| {
        let name = std::env::var("TRACER_FUZZ_TARGET").unwrap_or_default();
        let found = targets::ALL.iter().find(|(known, _)| *known == name);
        found.unwrap_or_else(|| panic!("TRACER_FUZZ_TARGET is none of the targets: {name:?}")).1
    });
    target(data);
});
