//! Verdicts on histories made by hand, and on many made at random.

use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};

use super::classify::{Birth, Evidence, Finding, Threads, classify_growth};
use super::history::Point;
use super::sentence::tests::holds;
use super::{ClassGrowth, CommandPid, Proof, VerdictKind};
use crate::attribute::Nature;
use crate::process::Pid;
use crate::recording::Collection;

const SECOND_NS: u64 = 1_000_000_000;
const KIB: u64 = 1 << 10;

/// A history from what was allocated, freed otherwise, and freed after collections by each second.
fn history(moments: impl IntoIterator<Item = (u64, u64, u64)>) -> Vec<Point> {
    let point = |(second, (allocated, freed, collected)): (u64, (u64, u64, u64))| Point {
        time_ns: second * SECOND_NS,
        allocated_bytes: allocated,
        freed_bytes: freed + collected,
        collected_bytes: collected,
        ..Point::default()
    };
    [(0, (0, 0, 0))].into_iter().chain((1..).zip(moments)).map(point).collect()
}

fn gc(second: u64, full: bool) -> Collection {
    let begin_ns = second * SECOND_NS + 100_000_000;
    Collection { begin_ns, end_ns: Some(begin_ns + 20_000_000), full }
}

/// Births of `each` bytes a second, in the seconds given, with collections at those of `gcs`.
fn births(seconds: std::ops::Range<u64>, each: u64, gcs: &[Collection]) -> Vec<Birth> {
    let birth = |second: u64| {
        let born_ns = second * SECOND_NS + 500_000_000;
        let epoch = gcs.iter().filter(|gc| gc.begin_ns < born_ns).count() as u32;
        Birth { born_ns, epoch, live_bytes: each }
    };
    seconds.map(birth).collect()
}

/// Evidence of the program 4711 with nothing else known of it.
fn evidence<'a>(
    nature: Nature,
    history: &'a [Point],
    gcs: &'a [Collection],
    births: &'a [Birth],
) -> Evidence<'a> {
    Evidence {
        nature,
        history,
        collections: Some(gcs),
        births,
        classes: ClassGrowth::Churn,
        unloads: true,
        is_applications: false,
        usual_bytes: 0,
        noise_bytes: 0,
        pid: CommandPid::of_running(Pid(4711)),
        reachability: None,
        threads: None,
    }
}

fn verdict(nature: Nature, history: &[Point], gcs: &[Collection], births: &[Birth]) -> Finding {
    classify_growth(&evidence(nature, history, gcs, births))
}

#[test]
fn the_chance_of_sampling_is_no_growth() {
    let grows = history((1..=15).map(|at| (at * 1_000 * KIB, 0, 0)));
    let births = births(0..15, 1_000 * KIB, &[]);
    let case = evidence(Nature::Owned, &grows, &[], &births);
    let found = |noise_bytes| classify_growth(&Evidence { noise_bytes, ..case }).kind;
    assert_eq!(found(0), VerdictKind::Leak);
    assert_eq!(found(9_900 * KIB), VerdictKind::Leak, "the last two thirds brought 10,000 KiB");
    assert_ne!(found(10_100 * KIB), VerdictKind::Leak, "that may be chance");
    assert_eq!(found(16_000 * KIB), VerdictKind::TooShort, "too few samples for anything");
}

#[test]
fn retained_and_never_collected_is_a_leak() {
    let gcs = [gc(3, false), gc(6, true), gc(9, false), gc(12, true)];
    let found = verdict(
        Nature::Collected,
        &history((1..=15).map(|at| (at * 1_000 * KIB, 0, 0))),
        &gcs,
        &births(0..15, 1_000 * KIB, &gcs),
    );
    assert_eq!(found.kind, VerdictKind::Leak);
    assert_eq!(
        found.evidence,
        "11.7 MiB survived 3 GCs (2 full), which freed nothing, and it grew by 1000.0 KiB/s (95 %: \
         1000.0 KiB/s to 1000.0 KiB/s)"
    );
}

/// Bytes of threads are what their stacks map, not what is in memory: their growth says so.
#[test]
fn threads_that_stay_grow_in_address_space() {
    let grows = history((1..=15).map(|at| (at * 2 * 1_024 * KIB, 0, 0)));
    let births = births(0..15, 2 * 1_024 * KIB, &[]);
    let threads = Some(Threads { started_count: 30, running_count: 30 });
    let case = evidence(Nature::Owned, &grows, &[], &births);
    let found = classify_growth(&Evidence { threads, ..case });
    assert_eq!(found.kind, VerdictKind::Leak);
    assert_eq!(
        found.evidence,
        "the address space of their stacks grew by 2.0 MiB/s (95 %: 2.0 MiB/s to 2.0 MiB/s) (30 of 30 threads still run), \
         and older allocations stay"
    );
}

#[test]
fn dropped_and_collected_waits_for_the_collector() {
    // Collections just after 5 s and 10 s free all that was there.
    let collected = |at: u64| {
        if at > 10 {
            10_000 * KIB
        } else if at > 5 {
            5_000 * KIB
        } else {
            0
        }
    };
    let gcs = [gc(5, true), gc(10, true)];
    let found = verdict(
        Nature::Collected,
        &history((1..=13).map(|at| (at * 1_000 * KIB, 0, collected(at)))),
        &gcs,
        &births(10..13, 1_000 * KIB, &gcs),
    );
    assert_eq!(found.kind, VerdictKind::GcPending);
    assert_eq!(
        found.evidence,
        "a full GC at 10.1 s freed 4.9 MiB of 5.0 MiB (2 collections freed 9.8 MiB in all)"
    );
}

#[test]
fn without_a_collection_nobody_can_tell() {
    let history = history((1..=15).map(|at| (at * 1_000 * KIB, 0, 0)));
    let births = births(0..15, 1_000 * KIB, &[]);
    let found = verdict(Nature::Collected, &history, &[], &births);
    assert_eq!(found.kind, VerdictKind::GcPending);
    assert!(found.evidence.contains("no collection ran, so it cannot be told"), "{}", found.evidence);
    assert!(found.evidence.contains("jcmd 4711 GC.run"), "{}", found.evidence);
    // A native library frees it or does not, whether a collection runs or not.
    let found = verdict(Nature::Owned, &history, &[], &births);
    assert_eq!(found.kind, VerdictKind::Leak);
    assert!(found.evidence.contains("no collection ran"), "{}", found.evidence);
    // A JVM without probes.
    let case = Evidence {
        nature: Nature::Collected,
        history: &history,
        collections: None,
        births: &births,
        classes: ClassGrowth::Churn,
        unloads: true,
        is_applications: false,
        usual_bytes: 0,
        noise_bytes: 0,
        pid: CommandPid::of_running(Pid(1)),
        reachability: None,
        threads: None,
    };
    let found = classify_growth(&case);
    assert_eq!(found.kind, VerdictKind::GcPending);
    assert!(found.evidence.contains("does not tell when it collects"), "{}", found.evidence);
}

#[test]
fn what_survives_while_most_is_collected_is_a_leak_all_the_same() {
    // A third is kept, two thirds are dropped.
    let collected = |at: u64| at.saturating_sub(1) / 4 * 4 * 2_000 * KIB;
    let gcs = [gc(4, true), gc(8, true), gc(12, true)];
    let mut born = births(0..12, 1_000 * KIB, &gcs);
    born.extend(births(12..15, 3_000 * KIB, &gcs));
    let history = history((1..=15).map(|at| (at * 3_000 * KIB, 0, collected(at))));
    let found = verdict(Nature::Collected, &history, &gcs, &born);
    assert_eq!(found.kind, VerdictKind::Leak, "{}", found.evidence);
    assert!(found.evidence.contains("what survives grew by"), "{}", found.evidence);
}

#[test]
fn a_pool_fills_and_stays_while_work_goes_on() {
    let pool = |at: u64| (at.min(4) * 4_000 * KIB + at * 500 * KIB, at * 500 * KIB, 0);
    let found = verdict(Nature::Owned, &history((1..=15).map(pool)), &[], &births(0..4, 4_000 * KIB, &[]));
    assert_eq!(found.kind, VerdictKind::Pool);
    assert_eq!(
        found.evidence,
        "rose to 15.6 MiB by 4.0 s, and is 15.6 MiB after another 11.0 s, in which 5.4 MiB more was allocated and 5.4 MiB \
         was freed"
    );
}

#[test]
fn turnover_is_steady_and_a_burst_is_transient() {
    let turnover = |at: u64| (2_000 * KIB * (at + 1), 2_000 * KIB * at, 0);
    let found =
        verdict(Nature::Owned, &history((1..=15).map(turnover)), &[], &births(14..15, 2_000 * KIB, &[]));
    assert_eq!(found.kind, VerdictKind::Steady, "{}", found.evidence);
    let burst = |at: u64| (at.min(5) * 9_000 * KIB, at.saturating_sub(5).min(5) * 8_900 * KIB, 0);
    let found = verdict(Nature::Owned, &history((1..=15).map(burst)), &[], &births(3..5, 250 * KIB, &[]));
    assert_eq!(found.kind, VerdictKind::Transient);
    assert_eq!(found.evidence, "rose to 43.9 MiB by 5.0 s and fell to 500.0 KiB");
}

#[test]
fn limits_shortness_and_small_things() {
    let line = |seconds: u64| history((1..=seconds).map(|at| (at * 1_000 * KIB, 0, 0)));
    let short = verdict(Nature::Owned, &line(4), &[], &births(0..4, 1_000 * KIB, &[]));
    assert_eq!(short.kind, VerdictKind::TooShort);
    assert!(short.evidence.contains("4.0 s"), "{}", short.evidence);
    let bounded = verdict(Nature::Bounded, &line(15), &[], &[]);
    assert_eq!(bounded.kind, VerdictKind::Pool, "{}", bounded.evidence);
    let small = history((1..=15).map(|at| (at * KIB, 0, 0)));
    assert_eq!(verdict(Nature::Owned, &small, &[], &[]).kind, VerdictKind::Steady);
    let late = history((1..=15_u64).map(|at| (at.saturating_sub(13) * 1_000 * KIB, 0, 0)));
    let found = verdict(Nature::Owned, &late, &[], &births(13..15, 1_000 * KIB, &[]));
    assert_eq!(found.kind, VerdictKind::TooShort);
    assert!(found.evidence.contains("first seen 2.0 s before the end"), "{}", found.evidence);
}

#[test]
fn lifetimes_longer_than_the_session_are_told() {
    // Each allocation lives for 10 s, of a session of 15.
    let turnover = |at: u64| (at * 1_000 * KIB, at.saturating_sub(12) * 1_000 * KIB, 0);
    let found =
        verdict(Nature::Owned, &history((1..=15).map(turnover)), &[], &births(3..15, 1_000 * KIB, &[]));
    assert_ne!(found.kind, VerdictKind::Leak, "{}", found.evidence);
}

#[test]
fn classes_that_are_unloaded_fall_when_a_collection_runs() {
    // Freed by no thread that works for the collector, but just then.
    let freed = |at: u64| if at > 8 { 7_000 * KIB } else { 0 };
    let gcs = [gc(8, true)];
    let found = verdict(
        Nature::Unloaded,
        &history((1..=12).map(|at| (at * 1_000 * KIB, freed(at), 0))),
        &gcs,
        &births(7..12, 1_000 * KIB, &gcs),
    );
    assert_eq!(found.kind, VerdictKind::GcPending, "{}", found.evidence);
}

#[test]
fn classes_of_loaders_that_were_there_are_a_start() {
    let history = history((1..=15).map(|at| (at * 1_000 * KIB, 0, 0)));
    let gcs = [gc(5, true), gc(10, true)];
    let young = gcs.map(|gc| Collection { full: false, ..gc });
    let births = births(0..15, 1_000 * KIB, &gcs);
    let of = |classes, gcs, unloads| Evidence {
        nature: Nature::Unloaded,
        history: &history,
        collections: Some(gcs),
        births: &births,
        classes,
        unloads,
        is_applications: false,
        usual_bytes: 0,
        noise_bytes: 0,
        pid: CommandPid::of_running(Pid(1)),
        reachability: None,
        threads: None,
    };
    assert_eq!(classify_growth(&of(ClassGrowth::Loading, &gcs, true)).kind, VerdictKind::TooShort);
    assert_eq!(classify_growth(&of(ClassGrowth::Churn, &gcs, true)).kind, VerdictKind::Leak);
    // A young collection looks for no class loaders, unless some went.
    assert_eq!(classify_growth(&of(ClassGrowth::Churn, &young, false)).kind, VerdictKind::GcPending);
    assert_eq!(classify_growth(&of(ClassGrowth::Churn, &young, true)).kind, VerdictKind::Leak);
}

/// A `verdict` on what the application asks for.
fn of_application(nature: Nature, history: &[Point], gcs: &[Collection], births: &[Birth]) -> Finding {
    classify_growth(&Evidence {
        nature,
        history,
        collections: Some(gcs),
        births,
        classes: ClassGrowth::Loading,
        unloads: true,
        is_applications: true,
        usual_bytes: 0,
        noise_bytes: 0,
        pid: CommandPid::of_running(Pid(4711)),
        reachability: None,
        threads: None,
    })
}

#[test]
fn classes_that_fall_while_no_loader_goes_are_working_memory() {
    let fell = |at: u64| if at > 10 { 9_000 * KIB } else { 0 };
    let history = history((1..=15).map(|at| (10_000 * KIB, fell(at), 0)));
    let gcs = [gc(10, true)];
    let case = |unloads| Evidence {
        nature: Nature::Unloaded,
        history: &history,
        collections: Some(&gcs),
        births: &[],
        classes: ClassGrowth::Loading,
        unloads,
        is_applications: false,
        usual_bytes: 0,
        noise_bytes: 0,
        pid: CommandPid::of_running(Pid(1)),
        reachability: None,
        threads: None,
    };
    assert_eq!(classify_growth(&case(true)).kind, VerdictKind::GcPending);
    assert_eq!(classify_growth(&case(false)).kind, VerdictKind::Transient);
}

#[test]
fn what_is_young_follows_the_load() {
    // More requests each second, each of which lives for less than one.
    let rising = history((1..=15).map(|at| (at * at * 100 * KIB, (at - 1) * (at - 1) * 100 * KIB, 0)));
    let found = verdict(Nature::Owned, &rising, &[], &births(14..15, 2_900 * KIB, &[]));
    assert_eq!(found.kind, VerdictKind::TooShort, "{}", found.evidence);
    assert!(found.evidence.contains("only 0 B is left of the 9.8 MiB allocated"), "{}", found.evidence);
    let all = (0..15).flat_map(|at| births(at..at + 1, (2 * at + 1) * 100 * KIB, &[])).collect::<Vec<_>>();
    let kept = history((1..=15).map(|at| (at * at * 100 * KIB, 0, 0)));
    assert_eq!(verdict(Nature::Owned, &kept, &[], &all).kind, VerdictKind::Leak);
}

#[test]
fn a_trickle_of_the_applications_is_a_leak() {
    let slow = history((1..=20).map(|at| (at * 5 * KIB, 0, 0)));
    let even = births(0..20, 5 * KIB, &[]);
    assert_eq!(of_application(Nature::Owned, &slow, &[], &even).kind, VerdictKind::Leak);
    assert_eq!(verdict(Nature::Owned, &slow, &[], &even).kind, VerdictKind::Steady);
    // Some large ones now and then: too few to tell.
    let steps = history((1..=20).map(|at| (at / 5 * 25 * KIB, 0, 0)));
    let few: Vec<_> = [4, 9, 14, 19].into_iter().flat_map(|at| births(at..at + 1, 25 * KIB, &[])).collect();
    assert_ne!(of_application(Nature::Owned, &steps, &[], &few).kind, VerdictKind::Leak);
}

#[test]
fn frees_that_follow_collections_are_theirs() {
    let gcs = [gc(4, false), gc(8, false), gc(12, false), gc(16, false)];
    // Freed in the second after each.
    let sawtooth = history((1..=18).map(|at| (at * 1_000 * KIB, (at - 1) / 4 * 4_000 * KIB, 0)));
    let found = of_application(Nature::Owned, &sawtooth, &gcs, &births(16..18, 1_000 * KIB, &gcs));
    assert_eq!(found.kind, VerdictKind::GcPending, "{}", found.evidence);
    assert!(found.evidence.contains("of its frees came right after collections, in 2"), "{}", found.evidence);
    assert_eq!(verdict(Nature::Owned, &sawtooth, &gcs, &[]).kind, VerdictKind::Steady);
    // Freed every second: that collections ran says nothing.
    let all_along = history((1..=18).map(|at| (at * 1_000 * KIB, (at - 1) * 1_000 * KIB, 0)));
    assert_ne!(of_application(Nature::Owned, &all_along, &gcs, &[]).kind, VerdictKind::GcPending);
}

const FLAT_CASES: usize = 10_000;

/// A slope that is told with a confidence of 95 % is wrong now and then. With all else that makes a finding, one in
/// 50,000 of these is; they are the same at each run.
#[test]
fn flat_and_noisy_is_hardly_ever_a_finding() {
    let random = TestRng::deterministic_rng(RngAlgorithm::ChaCha);
    let mut runner = TestRunner::new_with_rng(Config::default(), random);
    let noise = prop::collection::vec(0_u64..500, 120);
    let nature = prop::sample::select(vec![Nature::Owned, Nature::Collected, Nature::Unloaded]);
    let cases = (1_000_u64..100_000, 8_u64..120, noise, nature);
    let mut findings = Vec::new();
    for _ in 0..FLAT_CASES {
        let (level, seconds, noise, nature) = cases.new_tree(&mut runner).unwrap().current();
        let noisy = |at: u64| ((level + at * 500 + noise[(at % 120) as usize]) * KIB, at * 500 * KIB, 0);
        let history = history((1..=seconds).map(noisy));
        let live = history.last().map_or(0, Point::live_bytes);
        let found = verdict(nature, &history, &[], &births(0..1, live, &[]));
        if found.kind.is_finding() {
            findings.push(found);
        }
    }
    assert!(findings.len() <= 1, "{} of {FLAT_CASES}: {findings:#?}", findings.len());
}

proptest! {
    #[test]
    fn no_history_panics_and_growth_alone_is_never_steady(
        rate in 200_u64..4_000, seconds in 8_u64..120, noise in prop::collection::vec(0_u64..100, 120),
        nature in prop::sample::select(vec![Nature::Owned, Nature::Collected, Nature::Unloaded]),
    ) {
        let noisy = |at: u64| (at * rate * KIB + noise[(at % 120) as usize] * KIB, 0, 0);
        let history = history((1..=seconds).map(noisy));
        let found = verdict(nature, &history, &[], &births(0..seconds, rate * KIB, &[]));
        let expected = if nature == Nature::Owned { VerdictKind::Leak } else { VerdictKind::GcPending };
        prop_assert_eq!(found.kind, expected, "{}", found.evidence);
    }

    /// Every number of a sentence is one of its figures, and the figures are those of the history.
    #[test]
    fn sentences_are_true_of_the_numbers(
        rate in 1_u64..4_000, base in 0_u64..20_000, seconds in 5_u64..90, freed_share in 0_u64..=100,
        late_share in 0_u64..=100, bend in 0_u64..90, collects in any::<bool>(), full in any::<bool>(),
        noise in prop::collection::vec(0_u64..300, 90), applications in any::<bool>(),
        nature in prop::sample::select(vec![Nature::Owned, Nature::Collected, Nature::Unloaded, Nature::Bounded]),
        classes in prop::sample::select(vec![
            ClassGrowth::Churn, ClassGrowth::Loading, ClassGrowth::Other, ClassGrowth::Redefinition,
        ]),
    ) {
        let allocated = |at: u64| (base + at.min(bend) * rate + at.saturating_sub(bend) * rate * late_share / 100
            + (0..at).map(|second| noise[(second % 90) as usize]).sum::<u64>()) * KIB;
        let gcs: Vec<Collection> = if collects { (1..seconds / 4 + 1).map(|at| gc(at * 4 - 1, full)).collect() } else { Vec::new() };
        let moments = (1..=seconds).map(|at| {
            let freed = allocated(at.saturating_sub(1)) * freed_share / 100;
            let collected = if collects { allocated(at / 4 * 4) * freed_share / 200 } else { 0 };
            (allocated(at), freed - freed.min(collected), freed.min(collected))
        });
        let history = history(moments);
        let end = history.last().copied().unwrap_or_default();
        let each = end.live_bytes() / seconds;
        let births = births(seconds - seconds / 2..seconds, each, &gcs);
        let found = classify_growth(&Evidence {
            nature, history: &history, collections: Some(&gcs), births: &births, classes, unloads: true,
            is_applications: applications, usual_bytes: 0, noise_bytes: 0, pid: CommandPid::of_running(Pid(4711)), reachability: None, threads: None,
        });
        let known = ["95 %", "jcmd 4711 GC.run"];
        prop_assert_eq!(holds(&found.evidence.to_string(), &found.figures, &known), Ok(()));
        let figure = |name: &str| found.figures.whole(name);
        prop_assert_eq!(figure("live_bytes"), Some(end.live_bytes()));
        prop_assert_eq!(figure("allocated_bytes"), Some(end.allocated_bytes));
        prop_assert_eq!(figure("freed_bytes"), Some(end.freed_bytes));
        let at_most = |name: &str, most: u64| figure(name).is_none_or(|value| value <= most);
        prop_assert!(at_most("more_freed_bytes", end.freed_bytes) && at_most("more_allocated_bytes", end.allocated_bytes));
        prop_assert!(at_most("survived_bytes", end.live_bytes()), "{}", found.evidence);
        prop_assert!(at_most("collected_bytes", end.freed_bytes), "{}", found.evidence);
        prop_assert!(at_most("reached_ns", end.time_ns) && at_most("peak_ns", end.time_ns));
        let grows = found.figures.rate("growth_bytes_per_s").is_some_and(|rate| rate > 0);
        prop_assert!(found.kind != VerdictKind::Leak || grows || found.evidence.contains("enlarged"), "{}", found.evidence);
        prop_assert!(found.kind != VerdictKind::Leak || found.proof != Proof::None);
        let says = |words: &str| found.evidence.contains(words);
        prop_assert!(!says("no collection ran") || gcs.is_empty(), "{}", found.evidence);
        prop_assert!(!says("full GC") || full, "{}", found.evidence);
        prop_assert!(!says("freed nothing") || nature == Nature::Unloaded || end.collected_bytes == 0, "{}", found.evidence);
        prop_assert!(!says("no growth") || end.live_bytes() == 0, "{}", found.evidence);
        let most = history.iter().map(Point::live_bytes).max();
        prop_assert!(figure("peak_bytes").is_none_or(|peak| Some(peak) == most), "{}", found.evidence);
    }

    #[test]
    fn anything_has_one_verdict(
        moments in prop::collection::vec((any::<u64>(), any::<u64>(), any::<u64>()), 0..40),
        gcs in prop::collection::vec((any::<u64>(), any::<Option<u64>>(), any::<bool>()), 0..8),
        born in prop::collection::vec((any::<u64>(), any::<u32>(), 0_u64..1 << 50), 0..40),
    ) {
        let history: Vec<Point> = (0_u64..).zip(moments).map(|(at, (allocated_bytes, freed_bytes, collected_bytes))| {
            Point { time_ns: at * SECOND_NS, allocated_bytes, freed_bytes, collected_bytes, ..Point::default() }
        }).collect();
        let gcs: Vec<Collection> = gcs.into_iter()
            .map(|(begin_ns, end_ns, full)| Collection { begin_ns, end_ns, full }).collect();
        let births: Vec<Birth> = born.into_iter()
            .map(|(born_ns, epoch, live_bytes)| Birth { born_ns, epoch, live_bytes }).collect();
        for nature in [Nature::Owned, Nature::Collected, Nature::Unloaded, Nature::Bounded] {
            prop_assert!(!verdict(nature, &history, &gcs, &births).evidence.to_string().is_empty());
        }
    }
}

/// Kibibytes allocated and freed, and calls of each, by second.
fn counted(moments: impl IntoIterator<Item = (u64, u64, u64, u64)>) -> Vec<Point> {
    let point = |(second, (allocated, freed, allocated_count, freed_count))| Point {
        time_ns: second * SECOND_NS,
        allocated_bytes: allocated * KIB,
        freed_bytes: freed * KIB,
        allocated_count,
        freed_count,
        collected_bytes: 0,
    };
    [(0, (0, 0, 0, 0))].into_iter().chain((1..).zip(moments)).map(point).collect()
}

#[test]
fn a_queue_whose_pieces_are_replaced_grows_without_bound() {
    // 200 pieces of 16 KiB a second come, and 150 go: what is there is young, and waits ever longer.
    let queue = counted((1..=30).map(|at| (at * 3_200, at * 2_400, at * 200, at * 150)));
    let left = births(23..30, 3_200 * KIB, &[]);
    let found = verdict(Nature::Owned, &queue, &[], &left);
    assert_eq!(found.kind, VerdictKind::Leak, "{}", found.evidence);
    assert!(found.evidence.contains("each stays longer than the ones before, "), "{}", found.evidence);
    // However long it is recorded.
    let long = counted((1..=80).map(|at| (at * 3_200, at * 2_400, at * 200, at * 150)));
    assert_eq!(verdict(Nature::Owned, &long, &[], &births(60..80, 3_200 * KIB, &[])).kind, VerdictKind::Leak);
    // The load rises: as much more is asked for as is held.
    let load = counted(
        (1..=30).map(|at| (at * at * 100, (at - 1) * (at - 1) * 100, at * at * 10, (at - 1) * (at - 1) * 10)),
    );
    let found = verdict(Nature::Owned, &load, &[], &births(29..30, 5_900 * KIB, &[]));
    assert_eq!(found.kind, VerdictKind::TooShort, "{}", found.evidence);
    // It ends a little before the recording does, and nothing is freed.
    let load = counted(
        (1..=30_u64)
            .map(|at| at.min(27))
            .map(|at| (at * at * 100, (at - 1) * (at - 1) * 100, at * at * 10, (at - 1) * (at - 1) * 10)),
    );
    let found = verdict(Nature::Owned, &load, &[], &births(26..27, 5_300 * KIB, &[]));
    assert_ne!(found.kind, VerdictKind::Leak, "{}", found.evidence);
}

#[test]
fn a_block_that_is_enlarged_is_no_pool() {
    // By realloc, a little each time.
    let grows = counted((1..=30).map(|at| (at * (at + 1) * 500, at * (at - 1) * 500, at * 10, at * 10 - 1)));
    let found = verdict(Nature::Owned, &grows, &[], &births(29..30, 30_000 * KIB, &[]));
    assert_eq!(found.kind, VerdictKind::Leak, "{}", found.evidence);
    // By doubling: it is flat for ever longer.
    let size = |at: u64| 1_024 * at.next_power_of_two();
    let freed = |at: u64| (0..at.next_power_of_two().ilog2()).map(|step| 1_024 << step).sum::<u64>();
    let blocks = |at: u64| u64::from(at.next_power_of_two().ilog2()) + 1;
    let doubles = counted((1..=60).map(|at| (size(at) + freed(at), freed(at), blocks(at), blocks(at) - 1)));
    let found = verdict(Nature::Owned, &doubles, &[], &births(33..34, 65_536 * KIB, &[]));
    assert_eq!(found.kind, VerdictKind::Leak, "{}", found.evidence);
    assert!(found.evidence.contains("was enlarged from"), "{}", found.evidence);
    // A table that got its size when the program started.
    let table = counted((1..=60).map(|at| {
        (size(at.min(4)) + freed(at.min(4)), freed(at.min(4)), blocks(at.min(4)), blocks(at.min(4)) - 1)
    }));
    assert_ne!(verdict(Nature::Owned, &table, &[], &births(3..4, 4_096 * KIB, &[])).kind, VerdictKind::Leak);
}

#[test]
fn what_the_jvm_keeps_grows_without_new_classes() {
    let even = history((1..=30).map(|at| (at * 700 * KIB, 0, 0)));
    let slows = history((1..=30_u64).map(|at| (at.isqrt() * 3_800 * KIB, 0, 0)));
    let gcs = [gc(6, false), gc(12, false), gc(18, false), gc(24, false)];
    let of = |history: &[Point], classes| {
        classify_growth(&Evidence {
            nature: Nature::Unloaded,
            history,
            collections: Some(&gcs),
            births: &[],
            classes,
            unloads: false,
            is_applications: false,
            usual_bytes: 1 << 20,
            noise_bytes: 0,
            pid: CommandPid::of_running(Pid(4711)),
            reachability: None,
            threads: None,
        })
    };
    let found = of(&even, ClassGrowth::Other);
    assert_eq!(found.kind, VerdictKind::Leak, "{}", found.evidence);
    assert!(found.evidence.contains("hardly a class defined"), "{}", found.evidence);
    // No class loader has anything to do with it.
    assert!(found.advice.is_some_and(|advice| advice.contains("String.intern()")), "{:?}", found.advice);
    assert_eq!(of(&even, ClassGrowth::Loading).kind, VerdictKind::TooShort);
    assert_ne!(of(&slows, ClassGrowth::Other).kind, VerdictKind::Leak);
}

#[test]
fn one_young_collection_is_a_sample() {
    let grows = history((1..=20).map(|at| (at * 400 * KIB, 0, 0)));
    let gcs = [gc(3, false)];
    let found = verdict(Nature::Collected, &grows, &gcs, &births(0..20, 400 * KIB, &gcs));
    assert_eq!(found.kind, VerdictKind::Leak, "{}", found.evidence);
    assert!(found.evidence.contains("survived 1 GC (none full)"), "{}", found.evidence);
    // Half of what was there then is gone; or hardly anything was.
    let dropped = history((1..=20).map(|at| (at * 400 * KIB, if at > 3 { 600 * KIB } else { 0 }, 0)));
    let mut kept = births(0..20, 400 * KIB, &gcs);
    kept.iter_mut().filter(|birth| birth.epoch == 0).for_each(|birth| birth.live_bytes /= 2);
    assert_ne!(verdict(Nature::Collected, &dropped, &gcs, &kept).kind, VerdictKind::Leak);
    let late = history((1..=20).map(|at| (if at < 3 { 0 } else { (at - 2) * 400 * KIB }, 0, 0)));
    assert_eq!(verdict(Nature::Collected, &late, &gcs, &births(2..20, 400 * KIB, &gcs)).proof, Proof::None);
}

#[test]
fn what_redefinition_leaves_is_kept_until_a_full_collection() {
    let of = |history: &[Point], gcs: &[Collection]| {
        classify_growth(&Evidence {
            nature: Nature::Unloaded,
            history,
            collections: Some(gcs),
            births: &[],
            classes: ClassGrowth::Redefinition,
            unloads: false,
            is_applications: false,
            usual_bytes: 1 << 20,
            noise_bytes: 0,
            pid: CommandPid::of_running(Pid(4711)),
            threads: None,
            reachability: None,
        })
    };
    // The loaders of classes that are redefined live: no collection need tell.
    let even = history((1..=26).map(|at| (at * 500 * KIB, 0, 0)));
    let found = of(&even, &[]);
    assert_eq!((found.kind, found.proof), (VerdictKind::Leak, Proof::Course), "{}", found.evidence);
    assert!(found.advice.is_some_and(|advice| advice.contains("retransform classes once")));
    // After a full collection what it freed is used again.
    let stops = history((1..=26_u64).map(|at| (at.min(11) * 500 * KIB, 0, 0)));
    let found = of(&stops, &[gc(4, false), gc(10, true)]);
    assert_eq!((found.kind, found.proof), (VerdictKind::GcPending, Proof::Collection), "{}", found.evidence);
    assert_eq!(
        found.evidence,
        "it grew by 5.4 MiB until a full GC at 10.1 s, as classes that are there already are defined anew, and by 0 B in the \
         15.0 s after it: what that freed is used again"
    );
    assert_ne!(of(&stops, &[]).kind, VerdictKind::GcPending);
}
