//! The HotSpot reader against running JVMs of every version found, beside what the JVMs say of
//! themselves. Needs JDKs and root.

mod common;
mod hotspot_support;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::{Duration, Instant};

use hotspot_support::native_memory;
use hotspot_support::stopped_thread::StoppedThread;
use hotspot_support::{Jdk, Jvm, dump, jdks};
use tracer::hotspot::stats::TrackedCategory;
use tracer::hotspot::{
    Compiled, Hotspot, HotspotError, JavaFrame, JavaFrameKind, Symbols, Tier, readable_class_name,
};
use tracer::process::{InnerTid, Tid, mapping, root};
use tracer::unwind::modules::ModuleTables;
use tracer::unwind::walker::Walker;
use tracer_common::unwind::{Frame, Stop, frame_kind};

const MODES: [&[&str]; 4] = [&[], &["-Xint"], &["-XX:TieredStopAtLevel=1"], &["-XX:-TieredCompilation"]];

/// "class.method(signature)", as `jcmd Compiler.codelist` has it but for what differs between runs.
fn full_name(compiled: &Compiled) -> String {
    format!("{}.{}{}", compiled.class, compiled.method, compiled.signature)
}

/// Lines of `jcmd Compiler.codelist`: (blob, compile id) → (level, name, start of the code).
fn codelist(jvm: &Jvm) -> BTreeMap<(u64, u32), (u8, String, u64)> {
    let text = jvm.jcmd(&["Compiler.codelist"]);
    let mut list = BTreeMap::new();
    for line in text.lines().filter(|line| line.contains(" [0x")) {
        let parse = || {
            let (head, tail) = line.split_once(" [0x")?;
            let mut words = head.splitn(4, ' ');
            let (id, level) = (words.next()?.parse().ok()?, words.next()?.parse().ok()?);
            let name = words.nth(1)?;
            let (path, signature) = name.split_at(name.find('(')?);
            let (class, method) = path.rsplit_once('.')?;
            let (blob, code) = tail.split_once(", 0x")?;
            let address = |hex: &str| u64::from_str_radix(hex.get(..16)?, 16).ok();
            let name = format!("{}.{method}{signature}", readable_class_name(class));
            Some(((address(blob)?, id), (level, name, address(code)?)))
        };
        let (key, value) = parse().unwrap_or_else(|| panic!("a line of codelist: {line}"));
        list.insert(key, value);
    }
    list
}

fn by_key(nmethods: Vec<Compiled>) -> BTreeMap<(u64, u32), Compiled> {
    nmethods.into_iter().map(|one| ((one.blob.address, one.compile_id), one)).collect()
}

/// Every nmethod that is there before and after the JVM's own list was made has the same name, level
/// and code in that list; and the list has none that we have not.
fn check_nmethods(jvm: &Jvm, hotspot: &mut Hotspot) -> usize {
    let label = &jvm.label;
    let before = by_key(hotspot.nmethods());
    let theirs = codelist(jvm);
    let after = by_key(hotspot.nmethods());
    let mut checked = 0;
    for (key, one) in before.iter().filter(|(key, _)| after.contains_key(key)) {
        // The list has only those that can still be entered.
        let Some((level, name, code)) = theirs.get(key) else { continue };
        assert_eq!(*name, full_name(one), "{label}");
        assert_eq!(*code, one.blob.code.start, "{label} {name}");
        let tier = match level {
            0 => Some(Tier::Native),
            1..=3 => Some(Tier::C1),
            _ => Some(Tier::C2),
        };
        // Method handle intrinsics are native wrappers.
        assert!(tier == one.tier || one.tier == Some(Tier::Native), "{label} {name}: {level} {:?}", one.tier);
        checked += 1;
    }
    let unknown: Vec<_> =
        theirs.iter().filter(|(key, _)| !before.contains_key(key) && !after.contains_key(key)).collect();
    assert!(unknown.is_empty(), "{label}: {unknown:?}");
    assert!(checked * 10 >= theirs.len() * 9, "{label}: {checked} of {}", theirs.len());
    checked
}

fn check_threads(jvm: &mut Jvm, hotspot: &Hotspot) {
    let printed = jvm.thread_dump();
    let label = &jvm.label;
    let ours: BTreeMap<InnerTid, Option<String>> =
        hotspot.threads().into_iter().map(|thread| (thread.tid, thread.name)).collect();
    // A compiler without work may have ended meanwhile.
    let is_there = |tid: Tid| Path::new(&format!("/proc/{}/task/{tid}", jvm.pid())).exists();
    for thread in printed.iter().filter(|thread| is_there(thread.tid)) {
        let ours = ours.get(&InnerTid(thread.tid.0)).and_then(Option::as_deref);
        assert_eq!(ours, Some(thread.name.as_str()), "{label}");
    }
    let names: BTreeSet<_> = ours.values().flatten().map(String::as_str).collect();
    for name in ["main", "a thread whose name is much longer than fifteen bytes", "grüße", "日本語", ""]
    {
        assert!(names.contains(name), "{label}: {name:?} in {names:?}");
    }
}

/// Each statistic against what the JVM says, where it says it, and else for what must hold.
fn check_books(jvm: &mut Jvm, hotspot: &Hotspot) {
    let label = jvm.label.clone();
    let loaders = hotspot.loaders().unwrap_or_else(|error| panic!("{label}: {error}"));
    assert!(loaders.count >= 2 && loaders.class_count > 300, "{label}: {loaders:?}");
    for kind in loaders.types.iter().filter(|kind| kind.class_count > 0) {
        let metaspace = kind.metaspace.unwrap_or_else(|| panic!("{label}: {kind:?}"));
        // Archived classes take none.
        let holds = 0 < metaspace.used_bytes && metaspace.used_bytes <= metaspace.committed_bytes;
        assert!(holds, "{label}: {kind:?}");
    }
    let tables = hotspot.tables().unwrap_or_else(|error| panic!("{label}: {error}"));
    let (symbols, strings) = (tables.symbols, tables.strings);
    assert!(symbols.count > 10 && strings.count > 10, "{label}: {tables:?}");
    assert!(symbols.bytes > 32 * symbols.count && strings.bytes > 16 * strings.count, "{label}: {tables:?}");
    let buffers = hotspot.direct_buffers().unwrap_or_else(|error| panic!("{label}: {error}"));
    assert!(buffers.capacity_bytes <= buffers.reserved_bytes, "{label}: {buffers:?}");
    let heap = hotspot.java_heap().unwrap_or_else(|error| panic!("{label}: {error}"));
    assert!(heap.used_bytes > 100_000 && heap.used_bytes < 4 << 30, "{label}: {heap:?}");
    let ours = hotspot.jni_references().unwrap_or_else(|error| panic!("{label}: {error}"));
    // "JNI global refs: 15, weak refs: 0"; in JDK 8 "JNI global references: 15", of both.
    let line = jvm.jni_line();
    let theirs = line.split(|c: char| !c.is_ascii_digit()).filter_map(|digits| digits.parse::<u64>().ok());
    let (global, weak) = (ours.global.count, ours.weak.count);
    let ours = if line.contains("weak") { vec![global, weak] } else { vec![global + weak] };
    assert_eq!(theirs.collect::<Vec<_>>(), ours, "{label}: {line}");
}

/// Bytes by which a number may differ from another that was read a moment later: a page of a mapping, a chunk of an arena.
const MOVES_BYTES: u64 = 64 << 10;
/// Reports that the JVM is asked for until one agrees: it may work meanwhile.
const REPORTS: usize = 5;
/// Categories in which the JVM allocates what it reports with.
const OF_THE_REPORT: [&str; 2] = ["Internal", "Native Memory Tracking"];

/// Native Memory Tracking as we read it, against what the JVM reports.
fn check_tracking(jvm: &Jvm, hotspot: &Hotspot) {
    let label = &jvm.label;
    let mut last = Vec::new();
    for _ in 0..REPORTS {
        let before = tracked(jvm, hotspot);
        let theirs = native_memory::summary(&jvm.jcmd(&["VM.native_memory", "summary", "scale=b"]));
        let after = tracked(jvm, hotspot);
        for name in ["Java Heap", "Code", "Class", "Symbol", "GC"] {
            assert!(before.contains_key(name) && theirs.contains_key(name), "{label}: {name}");
        }
        let heap = &before["Java Heap"];
        assert!(heap.reserved_bytes >= 1 << 20 && heap.committed_bytes >= Some(1 << 20), "{label}: {heap:?}");
        last = disagreements(&before, &theirs, &after);
        if last.is_empty() {
            return;
        }
    }
    panic!("{label}: {}", last.join("; "));
}

fn tracked(jvm: &Jvm, hotspot: &Hotspot) -> BTreeMap<String, TrackedCategory> {
    let tracking = hotspot.native_memory_tracking().unwrap_or_else(|error| panic!("{}: {error}", jvm.label));
    let tracking = tracking.unwrap_or_else(|| panic!("{}: not tracked", jvm.label));
    assert_eq!(tracking.level.as_str(), "summary", "{}", jvm.label);
    tracking.categories.into_iter().map(|row| (row.name.clone(), row)).collect()
}

/// Numbers of the JVM's report that neither of our readings, before and after it, allows.
fn disagreements(
    before: &BTreeMap<String, TrackedCategory>,
    theirs: &BTreeMap<String, native_memory::Printed>,
    after: &BTreeMap<String, TrackedCategory>,
) -> Vec<String> {
    let mut wrong = Vec::new();
    for (name, theirs) in theirs.iter().filter(|(name, _)| !OF_THE_REPORT.contains(&name.as_str())) {
        let parts = |row: &TrackedCategory| {
            [Some(row.reserved_bytes), row.committed_bytes, Some(row.malloc_bytes), Some(row.arena_bytes)]
        };
        let of = |all: &BTreeMap<String, TrackedCategory>| all.get(name).map_or([Some(0); 4], parts);
        let theirs = [theirs.reserved_bytes, theirs.committed_bytes, theirs.malloc_bytes, theirs.arena_bytes];
        for ((what, theirs), ours) in ["reserved", "committed", "malloc", "arena"]
            .into_iter()
            .zip(theirs)
            .zip(of(before).into_iter().zip(of(after)))
        {
            // Committed bytes of stacks are not told.
            let (Some(before), Some(after)) = ours else { continue };
            let range = before.min(after).saturating_sub(MOVES_BYTES)..=before.max(after) + MOVES_BYTES;
            if !range.contains(&theirs) {
                wrong.push(format!("{name} {what}: {theirs} of the JVM, {range:?} of ours"));
            }
        }
    }
    wrong
}

fn check_listed(jdk: &Jdk, flags: &[&str]) {
    let is_whole = flags.is_empty();
    let flags = if is_whole { &["-XX:NativeMemoryTracking=summary"] } else { flags };
    let mut jvm = Jvm::start(jdk, flags, "HotspotWork", &["30000"]);
    let label = jvm.label.clone();
    // It compiles for a while what it ran.
    jvm.process.until_at_rest();
    let mut hotspot = jvm.open();
    assert!(hotspot.missing().is_empty(), "{label}: {:?}", hotspot.missing());
    let config = hotspot.unwinder_config();
    let cache = config.code_low..config.code_high;
    assert!(config.heap_count >= 1, "{label}");
    assert!(cache.contains(&config.interpreter_low) && cache.contains(&config.call_stub_return), "{label}");
    // JDK 8 has no such list.
    let checked = if hotspot.feature_version() > 8 { check_nmethods(&jvm, &mut hotspot) } else { 0 };
    check_threads(&mut jvm, &hotspot);
    if is_whole {
        check_books(&mut jvm, &hotspot);
    }
    if is_whole && hotspot.feature_version() > 8 {
        check_tracking(&jvm, &hotspot);
    }
    println!("{label}: {} {:?} {:?} {checked}", hotspot.version(), hotspot.vendor(), hotspot.gc());
}

#[test]
fn nmethods_and_threads_as_the_jvm_lists_them() {
    for jdk in jdks() {
        for flags in MODES {
            check_listed(&jdk, flags);
        }
    }
}

#[test]
fn thread_names_with_every_collector_and_layout_of_objects() {
    let collectors: [&[&str]; 9] = [
        &["-XX:+UseSerialGC"],
        &["-XX:+UseParallelGC"],
        &["-XX:+UseZGC"],
        &["-XX:+UseZGC", "-XX:+ZGenerational"],
        &["-XX:+UseShenandoahGC"],
        &["-XX:-UseCompressedOops"],
        &["-XX:-UseCompressedOops", "-XX:-UseCompressedClassPointers"],
        &["-XX:-CompactStrings", "-Xmx40g"],
        &["-XX:+UseCompactObjectHeaders"],
    ];
    for jdk in jdks() {
        for flags in collectors {
            let mut all = vec!["-XX:+UnlockExperimentalVMOptions", "-XX:ReservedCodeCacheSize=64m"];
            all.extend(flags);
            // Not every version knows every flag.
            if !jdk.accepts(&all) {
                continue;
            }
            let mut jvm = Jvm::start(&jdk, &all, "HotspotWork", &["200"]);
            let hotspot = jvm.open();
            assert!(hotspot.missing().is_empty(), "{}: {:?}", jvm.label, hotspot.missing());
            check_threads(&mut jvm, &hotspot);
            println!("{}: {:?}", jvm.label, hotspot.gc());
        }
    }
}

/// "pkg.Class.method (File.java:12)", as in a thread dump.
fn printed(frame: &JavaFrame) -> String {
    let place = match (&frame.file, frame.line) {
        _ if frame.native => "Native Method".to_owned(),
        (Some(file), Some(line)) => format!("{file}:{line}"),
        (Some(file), None) => file.to_string(),
        (None, _) => "Unknown Source".to_owned(),
    };
    format!("{} ({place})", frame.function())
}

/// Walks every resting thread and compares with the JVM's own dump.
fn check_stacks(jdk: &Jdk, flags: &[&str], tables: &mut ModuleTables) {
    let mut jvm = Jvm::start(jdk, flags, "HotspotChain", &[]);
    let dump = jvm.thread_dump();
    let label = jvm.label.clone();
    let mut hotspot = jvm.open();
    let memory = jvm.memory();
    let mappings = mapping::read(jvm.pid()).expect("maps");
    tables.update(&mappings, |m| root::mapped_file(jvm.pid(), m).map(|(file, _)| file), &memory);
    let walker = Walker::new(&memory, tables, hotspot.unwinder_config());
    let mut tiers = BTreeMap::new();
    let mut chains = 0;
    let walk = |thread: &dump::Thread| {
        let held = StoppedThread::new(thread.tid.0)?;
        Some(walker.walk(held.state))
    };
    let stacks: Vec<_> = dump.iter().filter(|thread| !thread.frames.is_empty()).map(walk).collect();
    let before = dump.into_iter().filter(|thread| !thread.frames.is_empty());
    let after: BTreeMap<_, _> =
        jvm.thread_dump().into_iter().map(|thread| (thread.tid, thread.frames)).collect();
    for (thread, stack) in before.zip(stacks) {
        // Otherwise it went on meanwhile, or ended.
        let stays = after.get(&thread.tid) == Some(&thread.frames);
        let Some(stack) = stack.filter(|_| stays) else { continue };
        let frames: Vec<JavaFrame> = stack
            .frames
            .iter()
            .filter(|frame| frame.kind != frame_kind::NATIVE)
            .flat_map(|frame| hotspot.resolve(frame).to_vec())
            .filter(|frame| frame.kind != JavaFrameKind::Stub)
            .collect();
        let ours: Vec<String> = frames.iter().map(printed).collect();
        assert_eq!(ours, thread.frames, "{label} {:?} {:?}", thread.name, stack.stop);
        assert_eq!(stack.stop, Stop::Complete, "{label} {:?}", thread.name);
        for frame in &frames {
            *tiers.entry(frame.tier.map(|tier| format!("{tier:?}"))).or_insert(0) += 1;
        }
        chains += usize::from(thread.name.starts_with("chain"));
    }
    assert_eq!(chains, 4, "{label}");
    println!("{label}: {} {tiers:?}", hotspot.version());
}

#[test]
fn stacks_of_resting_threads_as_the_jvm_prints_them() {
    let mut tables = ModuleTables::new(1 << 22);
    for jdk in jdks() {
        for flags in MODES {
            check_stacks(&jdk, flags, &mut tables);
        }
    }
}

/// Time that this thread ran so far: what others take of the CPUs is not in it.
fn cpu_time() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

#[test]
fn opening_takes_milliseconds() {
    for jdk in jdks() {
        let jvm = Jvm::start(&jdk, &[], "HotspotWork", &["100"]);
        let (file, bias) = jvm.libjvm().expect("libjvm");
        let begin = cpu_time();
        let symbols = Symbols::read(&file, bias).expect("symbols");
        let read = cpu_time() - begin;
        let begin = cpu_time();
        let hotspot = Hotspot::with_symbols(symbols, jvm.memory()).expect("a JVM");
        let opened = cpu_time() - begin;
        let begin = cpu_time();
        hotspot.threads();
        println!(
            "{}: symbols {read:?}, open {opened:?}, threads {:?}",
            hotspot.version(),
            cpu_time() - begin
        );
        assert!(opened < Duration::from_millis(500), "{opened:?}");
    }
}

/// Frames at some pcs of `compiled`: at calls, and anywhere else.
fn pcs(compiled: &Compiled) -> impl Iterator<Item = Frame> + use<> {
    let (aux, extra) = (compiled.blob.address, compiled.compile_id);
    let code = compiled.blob.code.start + 1..compiled.blob.code.end;
    code.step_by(5).map(move |pc| Frame { pc, aux, kind: frame_kind::COMPILED, extra })
}

/// Classes come and go; what was compiled of them is named as it was when it was there, by who copied it
/// then; by all others not at all.
fn check_unloading(jdk: &Jdk) {
    let mut jvm = Jvm::start(jdk, &["-Xmx64m", "-XX:+UseSerialGC"], "HotspotUnload", &[]);
    let label = jvm.label.clone();
    let (mut copying, mut forgetful) = (jvm.open(), jvm.open());
    let mut truth = Vec::new();
    for _ in 0..6 {
        let mut witness = jvm.open();
        let mut workers = witness.nmethods();
        for address in copying.nmethod_addresses() {
            copying.copy_nmethod(address);
        }
        // The JVM compiles meanwhile.
        let after = by_key(witness.nmethods());
        workers.retain(|one| after.contains_key(&(one.blob.address, one.compile_id)));
        workers.retain(|one| one.class.starts_with("HotspotUnload$Worker"));
        for frame in workers.iter().flat_map(pcs) {
            truth.push((frame, witness.resolve(&frame)));
        }
        jvm.process.tell("next");
        jvm.stdout.until("ready");
    }
    let (mut gone, mut same, mut inlined) = (0, 0, 0);
    for (frame, expected) in truth {
        let first = forgetful.resolve(&frame);
        if first.iter().any(|frame| frame.stale.is_some()) {
            assert!(first.iter().all(|frame| frame.kind == JavaFrameKind::Unknown), "{label} {first:?}");
            gone += 1;
        } else {
            assert_eq!(first, expected, "{label}");
            same += 1;
        }
        assert_eq!(copying.resolve(&frame), expected, "{label}");
        inlined += usize::from(expected.len() > 1);
    }
    println!("{label}: {gone} gone, {same} the same, {inlined} with inlined methods");
    assert!(gone > 100 && inlined > 10, "{label}");
}

#[test]
fn unloaded_code_keeps_its_names_or_has_none() {
    for jdk in jdks() {
        check_unloading(&jdk);
    }
}

/// A JVM is not ready from its first instruction on, and then ready; never not supported.
fn check_starting(jdk: &Jdk) {
    // Reading them takes longer than what is looked at here.
    let unloaded = {
        let jvm = Jvm::start(jdk, &[], "HotspotWork", &["1"]);
        Symbols::read(&jvm.libjvm().expect("libjvm").0, 0).expect("symbols")
    };
    let jvm = Jvm::spawn(jdk, &[], "HotspotWork", &["100"]);
    let mut reasons = BTreeMap::new();
    let begin = Instant::now();
    loop {
        assert!(begin.elapsed() < Duration::from_secs(60), "{} {reasons:?}", jvm.label);
        let Some((_, bias)) = jvm.libjvm() else { continue };
        let symbols = unloaded.iter().map(|(name, address)| (name.to_owned(), address + bias)).collect();
        match Hotspot::with_symbols(symbols, jvm.memory()) {
            Ok(hotspot) => {
                assert!(hotspot.missing().is_empty(), "{}: {:?}", jvm.label, hotspot.missing());
                break;
            }
            Err(HotspotError::NotReady(reason)) => *reasons.entry(reason).or_insert(0) += 1,
            Err(error) => panic!("{}: {error}", jvm.label),
        }
    }
    println!("{}: {:?} {reasons:?}", jvm.label, begin.elapsed());
}

#[test]
fn a_starting_jvm_is_not_ready_and_then_ready() {
    for jdk in jdks() {
        for _ in 0..5 {
            check_starting(&jdk);
        }
    }
}
