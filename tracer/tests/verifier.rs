//! Every BPF program is accepted by the running kernel's verifier, in every configuration, and within the budget of
//! instructions in `verifier-budget.toml`. `cargo xtask kernels` runs this on other kernels.

mod common;

use std::collections::BTreeMap;
use std::error::Error;

use tracer::probe::load::{self, Sizes};
use tracer::probe::mapping_calls::SeenAt;
use tracer_common::config::{Config, KernelOffsets, memo};

/// Kernel series ("6.12") → instructions, by program.
type Budget = BTreeMap<String, BTreeMap<String, u32>>;

/// Smaller than a recording's: the verifier does not look at sizes.
const SIZES: Sizes =
    Sizes { live_count: 1 << 10, stack_count: 1 << 10, row_count: 1 << 10, ring_bytes: 1 << 16 };

#[test]
fn every_program_loads_within_its_budget() {
    let Some(_turn) = common::privileged() else { return };
    let budget: Budget = toml::from_str(include_str!("verifier-budget.toml")).expect("the budget is TOML");
    let release = rustix::system::uname().release().to_string_lossy().into_owned();
    let series = series(&release);

    let verified = verified();
    let mut wrong = Vec::new();
    for (program, &count) in &verified {
        let Some(limit) = budget.get(program).and_then(|limits| limit(limits, series)) else {
            wrong.push(format!("{program} has no budget, and needs {count}"));
            continue;
        };
        println!("{program:<24} {count:>7} of {limit:>7} verified instructions");
        if count > limit {
            wrong.push(format!("{program} needs {count} of {limit}"));
        }
    }
    let seen_at = SeenAt::of_kernel();
    println!("mapping calls are seen at {seen_at:?}");
    // Distributions' kernels let programs trace their functions.
    assert!(seen_at == SeenAt::Functions || !release.contains("deb"), "{release}");
    let lacking = budget.keys().filter(|name| seen_at.can_load(name) && !verified.contains_key(*name));
    wrong.extend(lacking.map(|name| format!("there is no {name}")));
    assert!(wrong.is_empty(), "on kernel {release}:\n{}", wrong.join("\n"));
}

/// Instructions that each program needs at most, in any configuration of any object.
fn verified() -> BTreeMap<String, u32> {
    let release = std::env::var_os("TRACER_RELEASE_OBJECT")
        .map(|path| std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display())));
    if release.is_none() {
        println!("only the embedded programs: TRACER_RELEASE_OBJECT is not set");
    }
    let mut most = BTreeMap::new();
    for config in configurations() {
        let mut loaded = vec![load::load(&config, SIZES)];
        loaded.extend(release.iter().map(|object| load::load_object(object, &config, SIZES)));
        for programs in loaded {
            let programs = programs.unwrap_or_else(|error| panic!("{config:?}: {}", chain(&error)));
            for (program, facts) in programs.facts().expect("the kernel tells the counts") {
                let entry = most.entry(program).or_insert(0);
                *entry = facts.verified_instructions.max(*entry);
            }
        }
    }
    most
}

/// The configuration is constant to the verifier: what it switches off is not verified.
fn configurations() -> [Config; 3] {
    let plain =
        Config { tgid: 1, max_frames: 1024, slots_per_cpu: 4, cpu_count: 4, memo_sets: 1, ..Config::ZERO };
    // As where the kernel's structures are known.
    let kernel = KernelOffsets {
        task_utask: 8,
        task_mm: 16,
        mm_xol_area: 24,
        xol_area_vaddr: 32,
        utask_return_instances: 40,
        return_instance_stack: 48,
        return_instance_orig_ret_vaddr: 56,
        return_instance_next: 64,
        task_thread_pointer: 72,
        task_pid: 80,
    };
    let offsets = Config { kernel, memo: memo::ON, ..plain };
    let everything = Config { events: 1, min_size_bytes: 4096, memo: memo::CHECKED, ..offsets };
    [plain, offsets, everything]
}

/// "6.12" of "6.12.107+deb13-cloud-amd64".
fn series(release: &str) -> &str {
    let end = release.match_indices(|c: char| !c.is_ascii_digit()).nth(1).map_or(release.len(), |(at, _)| at);
    &release[..end]
}

/// The series' own limit; for a series that is not listed, the largest that is.
fn limit(limits: &BTreeMap<String, u32>, series: &str) -> Option<u32> {
    limits.get(series).or_else(|| limits.values().max()).copied()
}

fn chain(error: &dyn Error) -> String {
    std::iter::successors(Some(error), |&error| error.source()).map(|error| format!("\n{error}")).collect()
}

#[test]
fn a_series_is_the_first_two_numbers() {
    assert_eq!(series("6.12.107+deb13-cloud-amd64"), "6.12");
    assert_eq!(series("7.2-rc1"), "7.2");
    assert_eq!(series("7.2"), "7.2");
}
