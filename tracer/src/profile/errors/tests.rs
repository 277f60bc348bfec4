//! Chance that the truth is within three standard errors of what sampling estimates, by samples made up here.

use tracer_common::sampling::{WeightedSize, heaviest_sample, room_log2};

use super::*;
use crate::profile::Totals;

const INTERVAL: u32 = 256 << 10;
const RUNS: u32 = 2_000;

/// Blocks of a size: how many were freed, and how many are live.
type Blocks = (u64, u64, u64);

/// Programs as different as can be, each from one stack, which is worst: its samples do not weigh the same.
const PROGRAMS: [(&str, &[Blocks]); 9] = [
    (
        "many sizes",
        &[(13, 14_000, 1_000), (1_009, 14_000, 1_000), (10_007, 14_000, 1_000), (65_537, 350, 25)],
    ),
    ("small blocks", &[(16, 10_000, 1_000), (32, 16_000, 2_000), (100, 4_000, 200), (200, 1_000, 100)]),
    ("few small ones", &[(16, 500, 100), (64, 300, 50), (200, 100, 20)]),
    (
        "a heavy tail",
        &[
            (24, 40_000, 2_000),
            (192, 4_000, 200),
            (1_536, 400, 20),
            (12_288, 40, 3),
            (98_304, 5, 1),
            (786_432, 1, 1),
        ],
    ),
    ("all kinds", &[(24, 10_000, 10_000), (500, 3_000, 3_000), (5_000, 500, 500), (40_000, 60, 60)]),
    ("few of any", &[(1_000, 30, 10), (20_000, 8, 6), (90_000, 4, 4)]),
    ("a Java program", &[(32, 12_000, 4_000), (72, 8_000, 1_800), (4_200, 800, 160), (65_536, 60, 8)]),
    ("half an interval", &[(130_000, 200, 40)]),
    ("rare large ones", &[(20, 20_000, 4_000), (60_000, 30, 5)]),
];

/// Splitmix64 (Steele, Lea and Flood).
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// Number of `count` blocks that are taken, each with a chance of one in 2 to the power of `log2`.
    fn taken(&mut self, count: u64, log2: u32) -> u64 {
        let words = (0..count.div_ceil(64)).map(|word| {
            let blocks = u64::MAX >> (64 - (count - 64 * word).min(64));
            (0..log2).fold(blocks, |left, _| if left == 0 { 0 } else { left & self.next() })
        });
        words.map(|word| u64::from(word.count_ones())).sum()
    }
}

/// Totals that a recording of the program says by chance.
fn recorded(blocks: &[Blocks], random: &mut Random) -> recording::Totals {
    let mut totals = recording::Totals::default();
    for &(size, freed, live) in blocks {
        let one = WeightedSize::draw(size, INTERVAL, 0).expect("0 takes all");
        let freed = random.taken(freed, one.log2());
        let allocated = freed + random.taken(live, one.log2());
        totals.allocated_bytes += allocated * one.bytes();
        totals.allocated_count += allocated * one.count();
        totals.freed_bytes += freed * one.bytes();
        totals.freed_count += freed * one.count();
        totals.allocated_bytes_variance += allocated * one.bytes_variance();
        totals.allocated_count_variance += allocated * one.count_variance();
        totals.freed_bytes_variance += freed * one.bytes_variance();
        totals.freed_count_variance += freed * one.count_variance();
    }
    totals
}

/// The six totals, and their errors, as reports show them for a process that is this stack.
fn shown(totals: &recording::Totals, blocks: &[Blocks]) -> [(u64, u64); 6] {
    let room = blocks.iter().fold(0, |room, &(size, ..)| room | 1 << room_log2(size, INTERVAL));
    let heaviest = heaviest_sample(room, INTERVAL);
    let (heaviest_bytes, heaviest_count) = (heaviest.bytes, heaviest.count);
    let mut all = Totals::none(Some(Variances { heaviest_bytes, heaviest_count, ..Variances::default() }));
    all.add(&Totals {
        allocated_bytes: totals.allocated_bytes,
        allocated_count: totals.allocated_count,
        freed_bytes: totals.freed_bytes,
        freed_count: totals.freed_count,
        variances: Some(Variances::of(totals)),
        ..Totals::default()
    });
    let errors = &all.errors;
    [
        (all.allocated_bytes, errors.allocated_bytes_error),
        (all.freed_bytes, errors.freed_bytes_error),
        (all.live_bytes, errors.live_bytes_error),
        (all.allocated_count, errors.allocated_count_error),
        (all.freed_count, errors.freed_count_error),
        (all.live_count, errors.live_count_error),
    ]
    .map(|(estimate, error)| (estimate, error.expect("sampled")))
}

/// `TRACER_SAMPLED_RUNS=100000` takes some minutes, and tells more.
#[test]
fn the_truth_is_within_three_errors_whatever_a_program_allocates() {
    let runs = std::env::var("TRACER_SAMPLED_RUNS").ok().and_then(|runs| runs.parse().ok()).unwrap_or(RUNS);
    let mut random = Random(1);
    for (program, blocks) in PROGRAMS {
        let sum = |of: fn(&Blocks) -> u64| blocks.iter().map(of).sum::<u64>();
        let truth = [
            sum(|&(size, freed, live)| size * (freed + live)),
            sum(|&(size, freed, _)| size * freed),
            sum(|&(size, _, live)| size * live),
            sum(|&(_, freed, live)| freed + live),
            sum(|&(_, freed, _)| freed),
            sum(|&(_, _, live)| live),
        ];
        let (mut outside, mut errors, mut squares) = ([0; 6], [0.0; 6], [0.0; 6]);
        for _ in 0..runs {
            let shown = shown(&recorded(blocks, &mut random), blocks);
            for (at, (truth, (estimate, error))) in truth.iter().zip(shown).enumerate() {
                outside[at] += u32::from(estimate.abs_diff(*truth) > 3 * error);
                errors[at] += error as f64;
                squares[at] += (estimate.abs_diff(*truth) as f64).powi(2);
            }
        }
        let times: [f64; 6] =
            std::array::from_fn(|at| errors[at] / f64::from(runs) / (squares[at] / f64::from(runs)).sqrt());
        println!(
            "{program:>16}: outside {outside:?} of {runs}; the error is {times:.2?} times the true spread"
        );
        // 0.27 % of a normal distribution are outside, here 5 of 2,000; chance may make it twice as many.
        assert!(outside.iter().all(|&outside| outside <= 1 + runs / 200), "{program}: {outside:?} of {runs}");
        assert!(times.iter().all(|&times| times > 0.9), "{program}: {times:?} of the true spread");
    }
}

#[test]
fn errors_add_up_as_variances_do() {
    let row = |bytes, freed_bytes| Totals {
        allocated_bytes: 1 << 30,
        freed_bytes: 1 << 29,
        variances: Some(Variances { allocated_bytes: bytes, freed_bytes, ..Variances::default() }),
        ..Totals::default()
    };
    let mut sum = Totals::none(Some(Variances::default()));
    assert_eq!(sum.errors.live_bytes_error, Some(0));
    sum.add(&row(9, 0));
    assert_eq!(sum.errors.allocated_bytes_error, Some(3 * 64));
    sum.add(&row(16, 9));
    assert_eq!(sum.errors.allocated_bytes_error, Some(5 * 64));
    assert_eq!(sum.errors.live_bytes_error, Some(4 * 64));
    assert_eq!(Totals::none(None).errors, Errors::default());
    assert_eq!(Errors::default().live_bytes_error, None);
}

#[test]
fn nine_of_the_heaviest_may_be_missing() {
    let heaviest = Variances { heaviest_bytes: 1_000, heaviest_count: 64, ..Variances::default() };
    let nothing = heaviest.plus(Variances { heaviest_bytes: 10, ..Variances::default() }).errors();
    assert_eq!((nothing.live_bytes_error, nothing.live_count_error), (Some(3_000), Some(192)));
    // 16 of 64 bytes each, sampled one in 16: √(16 + 9) of what one stands for, less the one in 16 that is sure.
    let one = WeightedSize::draw(64, 1_024, 0).expect("0 takes all");
    let stack = recording::Totals {
        allocated_bytes: 16 * one.bytes(),
        allocated_bytes_variance: 16 * one.bytes_variance(),
        ..recording::Totals::default()
    };
    let error = Variances::of(&stack).errors().allocated_bytes_error.expect("sampled");
    assert!((4_700..=5_120).contains(&error), "{error}");
    // An allocation that was taken for sure has no error.
    let exact = recording::Totals { allocated_bytes: 1 << 40, ..recording::Totals::default() };
    assert_eq!(Variances::of(&exact).errors().allocated_bytes_error, Some(0));
}
