//! glibc's heap as it is read from outside, against what glibc says of itself.

mod common;

use std::path::Path;
use std::process::Command;

use common::fixture::c_program;
use common::process::Process;
use tracer::glibc::{self, HeapSource, Malloc};
use tracer::process::Pid;
use tracer::process::mapping::{self, Mapping};
use tracer::process::memory::{ImageMemory, LiveMemory, ProcessMemory};
use tracer::process::pagemap::{AllResident, PageMap};

/// One `<heap>` of malloc_info(3), and the totals behind them.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
struct Info {
    fast: (u64, u64),
    rest: (u64, u64),
    mapped: (u64, u64),
    system: u64,
}

/// The value of an attribute in a line of malloc_info(3).
fn attribute(line: &str, name: &str) -> u64 {
    let start = line.find(&format!(" {name}=\"")).unwrap_or_else(|| panic!("no {name} in {line}"));
    let value = &line[start + name.len() + 3..];
    value[..value.find('"').expect("a quote")].parse().expect("a number")
}

/// Heaps in the order of glibc's ring, and the totals.
fn parse(lines: &[String]) -> (Vec<Info>, Info) {
    let (mut heaps, mut info) = (Vec::new(), Info::default());
    for line in lines {
        let pair = || (attribute(line, "count"), attribute(line, "size"));
        if line.starts_with("<total type=\"fast\"") {
            info.fast = pair();
        } else if line.starts_with("<total type=\"rest\"") {
            info.rest = pair();
        } else if line.starts_with("<total type=\"mmap\"") {
            info.mapped = pair();
        } else if line.starts_with("<system type=\"current\"") {
            info.system = attribute(line, "size");
        } else if line.starts_with("</heap>") {
            heaps.push(std::mem::take(&mut info));
        }
    }
    (heaps, info)
}

fn read(pid: Pid) -> Malloc {
    let memory = LiveMemory::open(pid).expect("memory");
    let residency = PageMap::open(pid).expect("page map");
    let mappings = mapping::read(pid).expect("maps");
    let source = HeapSource { memory: &memory, residency: &residency, mappings: &mappings, excluded: &[] };
    glibc::read(&source, &mut |_| {}).expect("a heap of glibc")
}

/// Runs the program and compares arena by arena.
fn check(environment: &[(&str, &str)], threads: u64, rounds: u64) -> Malloc {
    let mut command = Command::new(c_program("heap"));
    check_command(command.envs(environment.iter().copied()), threads, rounds)
}

fn check_command(command: &mut Command, threads: u64, rounds: u64) -> Malloc {
    command.args([threads.to_string(), rounds.to_string()]);
    let (process, mut stdout, _stderr) = Process::start(command);
    let mut lines = Vec::new();
    loop {
        let line = stdout.next();
        if line.starts_with("made") {
            break;
        }
        lines.push(line);
    }
    let (heaps, total) = parse(&lines);
    let read = read(process.pid());
    assert_eq!(read.arenas.len(), heaps.len());
    assert!(read.arenas[0].is_main && read.arenas[1..].iter().all(|arena| !arena.is_main));
    for (arena, info) in read.arenas.iter().zip(&heaps) {
        let holdings = &arena.holdings;
        println!("{info:?}\n{holdings:?}");
        assert_eq!(arena.system_bytes, info.system);
        assert_eq!((holdings.fast.count, holdings.fast.bytes), info.fast);
        // glibc counts the top as a chunk, and adds the lowest bit of each size word in a bin.
        let binned = (holdings.binned.count + 1, holdings.binned.bytes + holdings.binned.count);
        assert_eq!((binned.0, binned.1 + holdings.top_bytes), info.rest);
        assert_eq!(holdings.inconsistent.count, 0);
        let sum = holdings.in_use.bytes + holdings.free_bytes() + holdings.top_bytes + holdings.own_bytes;
        assert_eq!(sum, info.system, "the parts of an arena add up to what it got");
        assert!(arena.resident_bytes.is_some_and(|resident| resident <= info.system && resident > 0));
    }
    let again = crate::read(process.pid());
    let resident =
        |malloc: &Malloc| malloc.arenas.iter().map(|arena| arena.resident_bytes).collect::<Vec<_>>();
    assert_eq!(resident(&again), resident(&read), "reading brings no page into memory");
    assert_eq!(read.system_bytes(), total.system);
    assert_eq!((read.mapped.found.count, read.mapped.found.bytes), total.mapped);
    assert_eq!(read.mapped.counted, Some(read.mapped.found));
    // Five of each thread, at least; all of one size.
    assert!(read.cache_count >= threads, "{}", read.cache_count);
    assert!(read.total().cached.bytes >= threads * 5 * 416);
    // A chunk is 16 bytes larger where the rest would have been too small to be one.
    let kept: u64 = read
        .sizes
        .exact()
        .filter(|size| [1024, 1040].contains(&size.from_bytes))
        .map(|size| size.count)
        .sum();
    // One of stdio's buffers has this size too.
    assert!((0..=1).contains(&(kept as i64 - (threads * rounds) as i64)), "{kept}");
    read
}

#[test]
fn every_arena_as_malloc_info_says() {
    let read = check(&[], 6, 1500);
    assert!(read.arenas.len() >= 7);
    assert!(read.mapped.found.count >= 6);
}

/// The program with the C library that lies unpacked in `folder`, as its package has it.
fn with_libc_of(folder: &Path) -> Command {
    let libraries = ["lib", "usr/lib"].map(|lib| folder.join(lib).join("x86_64-linux-gnu"));
    let libraries = libraries.into_iter().find(|path| path.join("libc.so.6").exists()).expect("a C library");
    let program = folder.join("heap");
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/programs/heap.c");
    let loader = libraries.join("ld-linux-x86-64.so.2");
    let built = Command::new("cc")
        .args(["-O2", "-D_GNU_SOURCE", "-fno-builtin", "-nodefaultlibs", "-o"])
        .args([&program, &source])
        .args(["libc.so.6", "libpthread.so.0"].map(|name| libraries.join(name)))
        .arg(&loader)
        .arg("-lgcc")
        .status()
        .expect("cc");
    assert!(built.success());
    let mut command = Command::new(loader);
    command.arg("--library-path").arg(libraries).arg(program);
    command
}

/// `TRACER_GLIBCS` names a folder with other versions of glibc: a folder for each, into which the package
/// `libc6` of a distribution was unpacked (`dpkg -x`).
#[test]
fn other_versions_of_glibc() {
    let Some(folder) = std::env::var_os("TRACER_GLIBCS") else { return };
    let versions: Vec<_> = std::fs::read_dir(folder).expect("a folder").flatten().collect();
    assert!(!versions.is_empty());
    for version in versions {
        println!("{}", version.path().display());
        let read = check_command(&mut with_libc_of(&version.path()), 6, 1500);
        assert!(read.arenas.len() >= 7 && read.has_all_arenas);
        assert!(read.mapped.found.count >= 6);
    }
}

#[test]
fn one_arena_for_all_threads() {
    let read = check(&[("MALLOC_ARENA_MAX", "1")], 12, 400);
    assert_eq!(read.arenas.len(), 1);
}

#[test]
fn an_arena_of_several_heaps() {
    let read = check(&[("MALLOC_ARENA_MAX", "2")], 4, 30_000);
    assert!(read.arenas.iter().any(|arena| arena.heaps.len() > 1));
}

#[test]
fn without_fast_bins_caches_and_mappings() {
    let tunables = "glibc.malloc.tcache_count=0:glibc.malloc.mxfast=0:glibc.malloc.mmap_max=0";
    let mut command = Command::new(c_program("heap"));
    command.args(["3", "500"]).env("GLIBC_TUNABLES", tunables);
    let (process, mut stdout, _stderr) = Process::start(&mut command);
    stdout.until("made");
    let read = read(process.pid());
    let total = read.total();
    assert_eq!((total.fast.count, total.cached.count, read.mapped.found.count), (0, 0, 0));
    assert_eq!(total.inconsistent.count, 0);
}

/// Writable memory of a process, and its mappings.
fn image(pid: Pid) -> (Vec<(u64, Vec<u8>)>, Vec<Mapping>) {
    let memory = LiveMemory::open(pid).expect("memory");
    let mappings = mapping::read(pid).expect("maps");
    let writable = mappings.iter().filter(|mapping| mapping.readable && mapping.writable);
    let ranges = writable.map(|mapping| {
        let mut bytes = vec![0; (mapping.end - mapping.start) as usize];
        memory.read(mapping.start, &mut bytes).expect("readable");
        (mapping.start, bytes)
    });
    (ranges.collect(), mappings)
}

/// A generator of numbers that needs no more than to be the same each time.
struct Numbers(u64);

impl Numbers {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        self.0 >> 20
    }

    fn below(&mut self, limit: u64) -> u64 {
        self.next() % limit
    }
}

fn read_image(ranges: Vec<(u64, Vec<u8>)>, mappings: &[Mapping]) -> Result<Malloc, glibc::MallocError> {
    let memory = ImageMemory::new(ranges);
    glibc::read(
        &HeapSource { memory: &memory, residency: &AllResident, mappings, excluded: &[] },
        &mut |_| {},
    )
}

#[test]
fn one_wrong_size_costs_one_chunk() {
    let mut command = Command::new(c_program("heap"));
    command.args(["2", "300"]);
    let (process, mut stdout, _stderr) = Process::start(&mut command);
    stdout.until("made");
    let (ranges, mappings) = image(process.pid());
    let whole = read_image(ranges.clone(), &mappings).expect("a heap");
    let heap = whole.arenas[1].heaps[0].used.clone();
    for wrong in [0, 8, 16, 33, 0x20, u64::MAX, 1 << 62, 0x1001, 0xdead_beef_0000_0005] {
        let mut ranges = ranges.clone();
        let (start, bytes) = ranges.iter_mut().find(|(start, _)| *start == heap.start).expect("the heap");
        // The size word of the first chunk of what was kept.
        let at = bytes.windows(16).position(|window| window == [0x5a; 16]).expect("what was kept") - 8;
        assert_eq!((*start + at as u64) % 16, 8);
        bytes[at..at + 8].copy_from_slice(&u64::to_le_bytes(wrong));
        let read = read_image(ranges, &mappings).expect("a heap");
        let (before, after) = (whole.arenas[1].holdings, read.arenas[1].holdings);
        assert!(after.inconsistent.count <= 2, "{wrong:#x}: {after:?}");
        assert!(after.inconsistent.bytes < 20_000, "{wrong:#x}: {after:?}");
        let lost = before.in_use.bytes - after.in_use.bytes.min(before.in_use.bytes);
        assert!(lost < 20_000, "{wrong:#x}: {before:?} {after:?}");
    }
}

#[test]
fn memory_that_is_anything_is_read_to_its_end() {
    let mut command = Command::new(c_program("heap"));
    command.args(["2", "100"]);
    let (process, mut stdout, _stderr) = Process::start(&mut command);
    stdout.until("made");
    let (ranges, mappings) = image(process.pid());
    let whole = read_image(ranges.clone(), &mappings).expect("a heap");
    let heaps: Vec<u64> =
        whole.arenas.iter().flat_map(|arena| &arena.heaps).map(|heap| heap.used.start).collect();
    let mut numbers = Numbers(7);
    for round in 0..60 {
        let mut ranges = ranges.clone();
        for (start, bytes) in &mut ranges {
            let is_heap = heaps.contains(start);
            let words = bytes.len() as u64 / 8;
            let changes = match round % 4 {
                0 if is_heap => 1 + numbers.below(20),
                1 if is_heap => words / 50,
                // The arenas' own state and links too.
                2 => 1 + numbers.below(40),
                // All of the heap but the state of the arena.
                3 if is_heap => words,
                _ => 0,
            };
            for change in 0..changes {
                let word = if round % 4 == 3 { change } else { numbers.below(words) };
                let value = match numbers.below(5) {
                    0 => numbers.next() << 20 | numbers.next(),
                    1 => numbers.below(1 << 12) << 4 | numbers.below(16),
                    2 => *start + 16 * numbers.below(words / 2),
                    3 => (*start + 16 * numbers.below(words / 2)) ^ (*start >> 12),
                    _ => 0,
                };
                if round % 4 != 3 || word > 300 {
                    bytes[word as usize * 8..][..8].copy_from_slice(&value.to_le_bytes());
                }
            }
        }
        if let Ok(read) = read_image(ranges, &mappings) {
            for arena in &read.arenas {
                let holdings = &arena.holdings;
                let reached: u64 = arena.heaps.iter().map(|heap| heap.used.end - heap.used.start).sum();
                let sum = holdings.in_use.bytes
                    + holdings.free_bytes()
                    + holdings.top_bytes
                    + holdings.own_bytes
                    + holdings.inconsistent.bytes
                    + holdings.unread_bytes;
                assert!(sum <= reached + (1 << 27), "round {round}: {arena:?}");
            }
        }
    }
}

#[test]
fn a_process_without_glibc_has_no_arena() {
    let (ranges, mappings) = (vec![(0x10000, vec![0; 0x10000])], Vec::new());
    assert_eq!(read_image(ranges, &mappings), Err(glibc::MallocError::NoArena));
}

/// Bins change while they are looked at, and the top moves: the arenas are found all the same, and what stays in them
/// is counted.
#[test]
fn heaps_that_change_all_the_time() {
    let (process, mut stdout, _stderr) = Process::start(&mut Command::new(c_program("busy_heaps")));
    stdout.until("busy");
    for _ in 0..10 {
        let read = read(process.pid());
        let arenas: Vec<_> =
            read.arenas.iter().filter(|arena| arena.holdings.in_use.count >= 20_000).collect();
        assert_eq!(arenas.len(), 2, "{:?}", read.arenas);
        for arena in arenas {
            let bytes = arena.holdings.in_use.bytes;
            assert!((20_000 * 1_008..20_000 * 1_024 + 4_096 * 8_208 + 1_000_000).contains(&bytes), "{bytes}");
            assert!(arena.holdings.inconsistent.count < 10, "{:?}", arena.holdings);
        }
        assert!(read.has_all_arenas);
    }
}
