//! Filters against the truth of a made-up program, each of whose allocations is known.

use std::path::Path;

use proptest::prelude::*;
use regex::Regex;
use tracer_common::stack::StackId;

use super::*;
use crate::attribute::Rules;
use crate::process::Tid;
use crate::profile::Profile;
use crate::recording::{self, End, LiveSize, Recording, Survivors, ThreadLive, Writer, fixture};
use crate::symbolize::Tier;

/// Seconds of a recording: as many as it has slices of births, so that each is one second long.
const SECONDS: u64 = 32;

/// An allocation; times are in milliseconds, and never whole seconds.
#[derive(Clone, Debug)]
struct Block {
    stack: u64,
    tid: u32,
    size: u64,
    born: u64,
    freed: Option<u64>,
}

impl Block {
    fn is_live_at(&self, millis: u64) -> bool {
        self.born <= millis && self.freed.is_none_or(|freed| freed > millis)
    }
}

fn blocks() -> impl Strategy<Value = Vec<Block>> {
    let moment = || (0..SECONDS, 1..1_000_u64).prop_map(|(second, millis)| second * 1_000 + millis);
    let block = (1..4_u64, 1..4_u32, 1..5_000_u64, moment(), proptest::option::of(moment()));
    let block = block.prop_map(|(stack, tid, size, born, freed)| Block {
        stack,
        tid,
        size,
        born,
        freed: freed.filter(|&freed| freed > born),
    });
    proptest::collection::vec(block, 0..60)
}

fn totals_at(blocks: &[Block], stack: u64, millis: u64) -> tracer_common::table::StackTotals {
    let of_stack = || blocks.iter().filter(|block| block.stack == stack && block.born <= millis);
    let sum = |blocks: &mut dyn Iterator<Item = &Block>| {
        blocks.fold((0, 0), |(bytes, count), block| (bytes + block.size, count + 1))
    };
    fixture::totals(sum(&mut of_stack()), sum(&mut of_stack().filter(|block| !block.is_live_at(millis))))
}

fn write(path: &Path, blocks: &[Block]) -> Recording {
    let mut writer = Writer::create(path, false, &fixture::header()).expect("create");
    for stack in 1..4 {
        let frames = [
            fixture::native("malloc", "/lib/libc.so.6"),
            fixture::java(&format!("com.acme.Shop.sell{stack}"), 10 + stack as u32, Tier::C2),
        ];
        writer.stack(StackId(stack), &frames, true, "complete").expect("stack");
    }
    for tid in 1..4_u32 {
        writer.thread(Tid(tid), Some(&format!("worker-{tid}")), None, None, None).expect("thread");
    }
    for second in 1..=SECONDS {
        let time_ns = fixture::START_NS + second * fixture::SECOND_NS;
        let rows: Vec<_> =
            (1..4).map(|stack| (StackId(stack), totals_at(blocks, stack, second * 1_000))).collect();
        writer.allocator_totals(time_ns, &rows).expect("totals");
        writer.tick(time_ns).expect("tick");
    }
    let live = || blocks.iter().filter(|block| block.is_live_at(SECONDS * 1_000));
    let births: Vec<_> = live()
        .map(|block| {
            let born_ns = fixture::START_NS + block.born / 1_000 * fixture::SECOND_NS;
            let stack = StackId(block.stack);
            Survivors { stack, epoch: 0, born_ns, live_bytes: block.size, live_count: 1 }
        })
        .collect();
    writer.survivors(&births).expect("births");
    let mut threads = std::collections::BTreeMap::new();
    for block in live() {
        let sum = threads.entry((block.stack, block.tid)).or_insert((0, 0));
        *sum = (sum.0 + block.size, sum.1 + 1);
    }
    let of_thread = |((stack, tid), (live_bytes, live_count))| ThreadLive {
        stack: StackId(stack),
        tid: Tid(tid),
        live_bytes,
        live_count,
    };
    let threads: Vec<_> = threads.into_iter().map(of_thread).collect();
    writer.live_by_thread(&threads).expect("threads");
    let of_size = |block: &Block| LiveSize {
        stack: StackId(block.stack),
        least_bytes: 1 << block.size.ilog2(),
        live_bytes: block.size,
        live_count: 1,
    };
    let sizes: Vec<_> = live().map(of_size).collect();
    writer.live_by_size(&sizes).expect("sizes");
    let end = End { duration_ns: SECONDS * fixture::SECOND_NS, reason: "duration".to_owned() };
    writer.finish(&end).expect("finish");
    recording::read(path).expect("read")
}

fn recorded(blocks: &[Block]) -> Recording {
    let (_folder, path) = fixture::folder();
    write(&path, blocks)
}

fn of(recording: &Recording, part: Part) -> Result<Profile, Refusal> {
    let filter = Filter { part, flags: vec!["--part".to_owned()], ..Filter::default() };
    Profile::filtered(recording, &Rules::builtin(), &filter)
}

/// Live bytes and allocations of blocks.
fn sum<'a>(blocks: impl Iterator<Item = &'a Block>) -> (u64, u64) {
    blocks.fold((0, 0), |(bytes, count), block| (bytes + block.size, count + 1))
}

fn seconds(seconds: u64) -> u64 {
    seconds * fixture::SECOND_NS
}

fn older(age: u64) -> Part {
    Part { older_ns: Some(seconds(age)), ..Part::default() }
}

fn larger(bytes: u64) -> Part {
    Part { min_bytes: Some(bytes), ..Part::default() }
}

fn by_thread(tid: u32) -> Part {
    Part { threads: vec![Regex::new(&format!("-{tid}$")).expect("pattern")], ..Part::default() }
}

fn range(from: u64, to: u64) -> Part {
    Part { from_ns: Some(seconds(from)), to_ns: Some(seconds(to)), ..Part::default() }
}

fn peak() -> Part {
    Part { is_peak: true, ..Part::default() }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// Parts of what is live at the end, where what is asked for is as fine as what is kept, are the truth.
    #[test]
    fn parts_of_what_is_live(blocks in blocks(), age in 0..=SECONDS, power in 0..14_u32, tid in 1..4_u32) {
        let recording = recorded(&blocks);
        let end = SECONDS * 1_000;
        let live = || blocks.iter().filter(|block| block.is_live_at(end));
        let found = |part| {
            let totals = of(&recording, part).expect("kept").totals;
            (totals.live_bytes, totals.live_count)
        };
        let of_age = sum(live().filter(|block| block.born <= end - age * 1_000));
        prop_assert_eq!(found(older(age)), of_age);
        let of_size = sum(live().filter(|block| block.size >= 1 << power));
        prop_assert_eq!(found(larger(1 << power)), of_size);
        let of_thread = sum(live().filter(|block| block.tid == tid));
        prop_assert_eq!(found(by_thread(tid)), of_thread);
    }

    /// Ranges hold the truth between what is surely in them and what may be in them, too; from the start it is known.
    #[test]
    fn ranges(blocks in blocks(), from in 0..SECONDS, length in 1..=SECONDS) {
        let recording = recorded(&blocks);
        let to = (from + length).min(SECONDS);
        let profile = of(&recording, range(from, to)).expect("kept");
        let within = || blocks.iter().filter(|block| block.born > from * 1_000 && block.born <= to * 1_000);
        let truth = sum(within().filter(|block| block.is_live_at(to * 1_000)));
        let totals = profile.totals;
        prop_assert_eq!((totals.allocated_bytes, totals.allocated_count), sum(within()));
        prop_assert!(totals.live_bytes <= truth.0 && totals.live_count <= truth.1);
        let is_told = profile.filtered.notes.iter().any(|note| note.contains("more may have been"));
        if !is_told || from == 0 || to == SECONDS {
            prop_assert_eq!((totals.live_bytes, totals.live_count), truth);
        }
    }

    /// Memory that passes several tests is between what surely does and what may, and the truth where nothing is told
    /// of that.
    #[test]
    fn parts_of_several_kinds(
        blocks in blocks(),
        age in proptest::option::of(0..=SECONDS),
        power in proptest::option::of(0..14_u32),
        tid in proptest::option::of(1..4_u32),
        from in proptest::option::of(0..SECONDS),
    ) {
        let recording = recorded(&blocks);
        let end = SECONDS * 1_000;
        let part = Part {
            older_ns: age.map(seconds),
            min_bytes: power.map(|power| 1 << power),
            threads: tid.map(by_thread).map(|part| part.threads).unwrap_or_default(),
            from_ns: from.map(seconds),
            ..Part::default()
        };
        prop_assume!(part.of_end().is_some());
        let passes = |block: &&Block| {
            block.is_live_at(end)
                && age.is_none_or(|age| block.born <= end - age * 1_000)
                && power.is_none_or(|power| block.size >= 1 << power)
                && tid.is_none_or(|tid| block.tid == tid)
                && from.is_none_or(|from| block.born > from * 1_000)
        };
        let truth = sum(blocks.iter().filter(passes));
        let profile = of(&recording, part).expect("kept");
        let found = (profile.totals.live_bytes, profile.totals.live_count);
        prop_assert!(found.0 <= truth.0 && found.1 <= truth.1, "{found:?} of {truth:?}");
        if !profile.filtered.notes.iter().any(|note| note.contains("more may")) {
            prop_assert_eq!(found, truth);
        }
        let sites: u64 = profile.sites.iter().map(|site| site.totals.live_bytes).sum();
        prop_assert_eq!(sites, found.0);
    }

    /// The peak of a range is the moment in it with most live; shown is what was allocated in the range.
    #[test]
    fn peaks_of_ranges(blocks in blocks(), from in 0..SECONDS, length in 1..=SECONDS) {
        let recording = recorded(&blocks);
        let to = (from + length).min(SECONDS);
        let at = |second: u64| sum(blocks.iter().filter(|block| block.is_live_at(second * 1_000))).0;
        let most = (from + 1..=to).max_by_key(|second| at(*second)).expect("a moment");
        let of_peak = of(&recording, Part { is_peak: true, ..range(from, to) }).expect("kept");
        let of_range = of(&recording, range(from, most)).expect("kept");
        prop_assert_eq!(of_peak.totals, of_range.totals);
        prop_assert!(of_peak.filtered.notes.iter().any(|note| note.starts_with("The peak is at ")));
    }

    /// The peak is the moment with most live.
    #[test]
    fn peaks(blocks in blocks()) {
        let recording = recorded(&blocks);
        let at = |second: u64| sum(blocks.iter().filter(|block| block.is_live_at(second * 1_000))).0;
        let most = (1..=SECONDS).map(at).max();
        prop_assert_eq!(Some(of(&recording, peak()).expect("kept").totals.live_bytes), most);
    }
}

#[test]
fn what_a_file_does_not_keep_is_refused() {
    let (_folder, path) = fixture::finished();
    let mut recording = recording::read(&path).expect("read");
    recording.survivors.clear();
    recording.live_by_thread.clear();
    recording.live_sizes.clear();
    recording.series.clear();
    assert_eq!(of(&recording, older(1)).expect_err("births"), Refusal::NoBirths { flag: "--older" });
    assert_eq!(of(&recording, larger(1)).expect_err("sizes"), Refusal::NoSizes);
    assert_eq!(of(&recording, by_thread(1)).expect_err("threads"), Refusal::NoThreads);
    assert_eq!(of(&recording, peak()).expect_err("moments"), Refusal::NoMoments { flag: "--view peak" });
    let with_time = Part { from_ns: Some(seconds(1)), ..larger(1) };
    assert_eq!(of(&recording, with_time).expect_err("births"), Refusal::NoBirths { flag: "--from" });
    assert!(matches!(
        of(&recording, range(0, 99)).expect_err("long"),
        Refusal::BeyondEnd { flag: "--to", .. }
    ));
    assert!(matches!(of(&recording, range(6, 9)).expect_err("coarse"), Refusal::NoRange { .. }));
}

/// Numbers of a moment of a sampled recording have an error: that of as many samples as there were by then.
#[test]
fn a_range_of_samples_has_its_errors() {
    let (_folder, path) = fixture::finished();
    let mut recording = recording::read(&path).expect("read");
    recording.session.sample_bytes = Some(1 << 19);
    recording.quality.heaviest_sample = Some(recording::HeaviestSample { bytes: 0, count: 0 });
    for row in &mut recording.totals {
        row.totals.allocated_bytes_variance = row.totals.allocated_bytes;
        row.totals.allocated_count_variance = 16 * row.totals.allocated_count;
    }
    let errors = |part: Part| {
        let totals = of(&recording, part).expect("kept").totals;
        let errors = totals.variances.expect("sampled").errors();
        (totals.allocated_bytes, totals.allocated_count, errors)
    };
    let (all_bytes, all_count, all) = errors(range(0, 10));
    let (bytes, count, half) = errors(range(0, 5));
    assert!(bytes < all_bytes && count < all_count, "{count} of {all_count}");
    // Errors grow by the square root of what is told.
    let share =
        |part: Option<u64>, all: Option<u64>| part.expect("error") as f64 / all.expect("error") as f64;
    let bytes_share = share(half.allocated_bytes_error, all.allocated_bytes_error);
    assert!((0.5..0.99).contains(&bytes_share), "{bytes_share}");
    let count_share = share(half.allocated_count_error, all.allocated_count_error);
    assert!((0.5..0.99).contains(&count_share), "{count_share}");
}

/// A stack passes or not as a whole, and so keeps its verdict.
#[test]
fn stacks_are_chosen_by_line_and_by_frames() {
    let (_folder, path) = fixture::finished();
    let recording = recording::read(&path).expect("read");
    let all = Profile::build(&recording, &Rules::builtin());
    let patterns = |text: &str| vec![Regex::new(text).expect("pattern")];
    let with = |filter: Filter| Profile::filtered(&recording, &Rules::builtin(), &filter).expect("kept");
    let zlib = all.sites.iter().find(|site| site.category == "zlib").expect("zlib");
    let line = vec![LinePattern::parse("Feed.open:17").expect("line")];
    for filter in [
        Filter { lines: line, ..Filter::default() },
        Filter { include: patterns("inflate"), ..Filter::default() },
        Filter { include: patterns("libzip"), ..Filter::default() },
        Filter {
            exclude: patterns("allocateDirect|libacme|pthread_create"),
            include: patterns("^com.acme"),
            ..Filter::default()
        },
    ] {
        let profile = with(filter.clone());
        let [site] = &profile.sites[..] else { panic!("{filter:?}: {:?}", profile.sites) };
        assert_eq!(site.totals, zlib.totals, "{filter:?}");
        let told =
            |site: &crate::profile::Site| site.verdict.as_ref().map(|verdict| verdict.evidence.clone());
        assert_eq!(told(site), told(zlib));
        assert_eq!(site.growth_bytes_per_s, zlib.growth_bytes_per_s);
    }
    let none =
        with(Filter { lines: vec![LinePattern::parse("Feed.open:18").expect("line")], ..Filter::default() });
    assert_eq!(none.filtered.no_lines, ["Feed.open:18"]);
    assert!(none.filtered.known_lines.contains(&"com.acme.Feed.open:17".to_owned()));
    assert_eq!(none.filtered.rest.live_bytes, i64::try_from(all.totals.live_bytes).expect("small"));
}

#[test]
fn what_is_kept_of_the_end_goes_with_no_earlier_moment() {
    let refused = |part: Part| part.check().expect_err("refused").to_string();
    let to = |part: Part| Part { to_ns: Some(1), ..part };
    assert!(refused(to(older(1))).starts_with("--older and --to: ages, sizes and threads are kept"));
    assert!(refused(to(larger(1))).starts_with("--min-size and --to: "));
    assert!(refused(Part { is_peak: true, ..by_thread(1) }).starts_with("--thread and --view peak: "));
    assert_eq!(refused(range(7, 7)), "--from is not before --to");
    assert_eq!(Part { is_peak: true, ..range(1, 7) }.check(), Ok(()));
    assert_eq!(Part { from_ns: Some(1), min_bytes: Some(1), ..older(1) }.check(), Ok(()));
}
