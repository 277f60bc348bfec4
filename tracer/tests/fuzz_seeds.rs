//! Inputs that `cargo xtask fuzz` begins with, and those that it once found, through the same functions: `fuzz/src/targets.rs`.

mod common;
#[path = "../../fuzz/src/targets.rs"]
#[allow(
    dead_code,
    unreachable_pub,
    reason = "what a target does not need of the parts that other tests share"
)]
mod targets;

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use common::random::Random;

/// Bytes that a number's border is made of.
const BORDERS: [u8; 6] = [0, 1, 0x7f, 0x80, 0xff, b'\n'];

fn seeds_of(name: &str) -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/seeds").join(name);
    let seeds = fs::read_dir(&folder).unwrap_or_else(|error| panic!("seeds of {name}: {error}"));
    let mut paths: Vec<_> = seeds.flatten().map(|seed| seed.path()).collect();
    paths.sort();
    assert!(!paths.is_empty(), "{name} has none");
    paths.iter().map(|path| fs::read(path).expect("a seed")).collect()
}

#[test]
fn seeds_break_nothing() {
    for (name, target) in targets::ALL {
        for (at, seed) in seeds_of(name).iter().enumerate() {
            println!("{name}, seed {at}");
            target(seed);
        }
    }
}

/// Seeds that are changed at random, where there is no libFuzzer: `TRACER_FUZZ_SECONDS` for each target. An input that
/// breaks one is left in `target/fuzz/found`.
#[test]
#[ignore = "takes as long as it is given: cargo xtask fuzz is better"]
fn changed_seeds_break_nothing() {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    let time = Duration::from_secs(number("TRACER_FUZZ_SECONDS").unwrap_or(10));
    let mut numbers = Random::new(number("TRACER_FUZZ_SEED").unwrap_or(1));
    let mut random = move || numbers.next();
    let found = common::fixture::target_folder().join("fuzz/found");
    fs::create_dir_all(&found).expect("a folder");
    let mut broken = Vec::new();
    for (name, target) in targets::ALL {
        let (seeds, begun, mut count) = (seeds_of(name), Instant::now(), 0);
        while begun.elapsed() < time {
            let mut input = seeds[random() as usize % seeds.len()].clone();
            for _ in 0..1 << (random() % 6) {
                change(&mut input, &seeds, &mut random);
            }
            let last = found.join(format!("{name}-now"));
            fs::write(&last, &input).expect("the input");
            if std::panic::catch_unwind(|| target(&input)).is_err() {
                let kept = found.join(format!("{name}-{count}"));
                fs::rename(&last, &kept).expect("kept");
                broken.push(kept);
            }
            count += 1;
        }
        println!("{name}: {count} inputs");
    }
    assert!(broken.is_empty(), "mend it, and keep it in fuzz/seeds: {broken:?}");
}

/// Changes one place: a byte, a number, a part of another seed, or the length.
fn change(input: &mut Vec<u8>, seeds: &[Vec<u8>], random: &mut impl FnMut() -> u64) {
    let at = random() as usize % (input.len() + 1);
    let value = random();
    match random() % 6 {
        0 => input[at..].iter_mut().take(1).for_each(|byte| *byte = value as u8),
        1 => input[at..].iter_mut().take(1).for_each(|byte| *byte ^= 1 << (value % 8)),
        2 => {
            let border = BORDERS[value as usize % BORDERS.len()];
            input[at..].iter_mut().take(1 << (value >> 8 & 3)).for_each(|byte| *byte = border);
        }
        3 => input.truncate(at),
        4 => {
            let other = &seeds[value as usize % seeds.len()];
            let from = random() as usize % (other.len() + 1);
            let part = &other[from..(from + value as usize % 64).min(other.len())];
            input.splice(at..at, part.iter().copied());
        }
        _ => input[at..].iter_mut().zip(value.to_le_bytes()).for_each(|(byte, new)| *byte = new),
    }
}
