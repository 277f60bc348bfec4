//! Output of `jcmd VM.native_memory summary scale=b`, as numbers.

use std::collections::BTreeMap;

/// A category's numbers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Printed {
    pub(crate) reserved_bytes: u64,
    pub(crate) committed_bytes: u64,
    pub(crate) malloc_bytes: u64,
    pub(crate) arena_bytes: u64,
}

/// The categories by name. Stacks of threads, which are printed as a part of threads, are one of their own.
pub(crate) fn summary(text: &str) -> BTreeMap<String, Printed> {
    let number = |text: &str, key: &str| -> u64 {
        let digits = text.split_once(key).map_or("", |(_, rest)| rest);
        digits
            .split(|char: char| !char.is_ascii_digit())
            .next()
            .and_then(|digits| digits.parse().ok())
            .unwrap_or(0)
    };
    let mut all: BTreeMap<String, Printed> = BTreeMap::new();
    let mut current = String::new();
    for line in text.lines() {
        if let Some((name, _)) = line.strip_prefix('-').and_then(|line| line.split_once("(reserved=")) {
            current = name.trim().to_owned();
        }
        let line = line.trim();
        let part = |name: &str| line.strip_prefix(name);
        let name = if part("(stack: ").is_some() { "Thread Stack" } else { &current };
        let mapped = part("(mmap: ").or_else(|| part("(stack: "));
        let (malloc, arena) = (part("(malloc"), part("(arena"));
        if mapped.or(malloc).or(arena).is_none() {
            continue;
        }
        let row = all.entry(name.to_owned()).or_default();
        if let Some(rest) = mapped {
            (row.reserved_bytes, row.committed_bytes) =
                (number(rest, "reserved="), number(rest, "committed="));
        }
        row.malloc_bytes += malloc.map_or(0, |rest| number(rest, "="));
        row.arena_bytes += arena.map_or(0, |rest| number(rest, "="));
    }
    all
}

#[test]
fn numbers_of_a_summary() {
    let text = "Total: reserved=9, committed=5\n\n-                 Java Heap (reserved=268435456, committed=1048576)\n                            (mmap: reserved=268435456, committed=1048576, at peak)\n\n-                    Thread (reserved=22, committed=22)\n                            (thread #21)\n                            (stack: reserved=22085632, committed=22085632)\n                            (malloc=91 #120) (peak=1)\n                            (arena=37 #40)\n";
    let all = summary(text);
    let heap = Printed { reserved_bytes: 268_435_456, committed_bytes: 1_048_576, ..Printed::default() };
    assert_eq!(all.get("Java Heap"), Some(&heap));
    assert_eq!(all.get("Thread"), Some(&Printed { malloc_bytes: 91, arena_bytes: 37, ..Printed::default() }));
    assert_eq!(all.get("Thread Stack").map(|row| row.reserved_bytes), Some(22_085_632));
}
