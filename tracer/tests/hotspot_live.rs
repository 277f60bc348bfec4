//! The HotSpot reader against running JVMs of every version found, beside what the JVMs' own tools
//! say. Needs JDKs and the right to read other processes' memory.

mod hotspot_support;

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use hotspot_support::{Jdk, Jvm, jdks};
use tracer::hotspot::{Compiled, Hotspot, Symbols, Tier, readable_class_name};

const MODES: [&[&str]; 4] = [&[], &["-Xint"], &["-XX:TieredStopAtLevel=1"], &["-XX:-TieredCompilation"]];

/// "class.method(signature)", as `jcmd Compiler.codelist` has it but for what differs between runs.
fn full_name(compiled: &Compiled) -> String {
    format!("{}.{}{}", compiled.class, compiled.method, compiled.signature)
}

/// Lines of `jcmd Compiler.codelist`: (blob, compile id) → (level, name, start of the code).
fn codelist(jvm: &Jvm) -> BTreeMap<(u64, u32), (u8, String, u64)> {
    let text = jvm.jcmd(&["Compiler.codelist"]);
    let mut list = BTreeMap::new();
    for line in text.lines().skip(1).filter(|line| line.contains(" [0x")) {
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

/// Every nmethod that is there before and after the JVM's own list was made is in that list, with the
/// same name, level and code; and the list has none that we have not.
fn check_nmethods(jvm: &Jvm, hotspot: &mut Hotspot, label: &str) -> usize {
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

/// Names by thread id, from `jcmd Thread.print`.
fn printed_threads(jvm: &Jvm) -> BTreeMap<u32, String> {
    let text = jvm.jcmd(&["Thread.print"]);
    let mut threads = BTreeMap::new();
    for line in text.lines().filter(|line| line.starts_with('"')) {
        let (name, rest) = line[1..].split_once("\" ").expect("a name");
        // Threads of the JVM's own have no number.
        if !rest.starts_with('#') {
            continue;
        }
        let nid = rest.split("nid=").nth(1).and_then(|nid| nid.split(' ').next()).expect("nid");
        let tid = match nid.strip_prefix("0x") {
            Some(hex) => u32::from_str_radix(hex, 16),
            None => nid.parse(),
        };
        threads.insert(tid.expect("a number"), name.to_owned());
    }
    threads
}

fn check_threads(jvm: &Jvm, hotspot: &Hotspot, label: &str) {
    let printed = printed_threads(jvm);
    let ours: BTreeMap<u32, Option<String>> =
        hotspot.threads().into_iter().map(|thread| (thread.tid, thread.name)).collect();
    for (tid, name) in &printed {
        // The tool's output cannot show what is not in the basic plane.
        let same =
            ours.get(tid).is_some_and(|ours| ours.as_deref() == Some(name) || name.contains('\u{fffd}'));
        assert!(same, "{label}: {tid} {name:?} {:?}", ours.get(tid));
    }
    let names: BTreeSet<_> = ours.values().flatten().map(String::as_str).collect();
    for name in
        ["main", "a thread whose name is much longer than fifteen bytes", "grüße", "日本語 \u{1f600}", ""]
    {
        assert!(names.contains(name), "{label}: {name:?} in {names:?}");
    }
}

fn check(jdk: &Jdk, flags: &[&str]) {
    let jvm = Jvm::start(jdk, flags, "HotspotWork", &["30000"]);
    let label = format!("{} {flags:?}", jdk.name());
    let mut hotspot = jvm.open();
    let config = hotspot.unwinder_config();
    assert!(config.code_low < config.code_high && config.heap_count >= 1, "{label}");
    assert!((config.code_low..config.code_high).contains(&config.interpreter_low), "{label}");
    assert!((config.code_low..config.code_high).contains(&config.call_stub_return), "{label}");
    let checked = if jdk.root.is_none() { check_nmethods(&jvm, &mut hotspot, &label) } else { 0 };
    check_threads(&jvm, &hotspot, &label);
    println!(
        "{label}: {} {:?} {:?} {checked} nmethods {:?}",
        hotspot.version(),
        hotspot.vendor(),
        hotspot.gc(),
        hotspot.missing()
    );
}

#[test]
fn nmethods_and_threads_as_the_jvm_lists_them() {
    for jdk in jdks() {
        for flags in MODES {
            check(&jdk, flags);
        }
    }
}

#[test]
fn opening_takes_milliseconds() {
    for jdk in jdks() {
        let jvm = Jvm::start(&jdk, &[], "HotspotWork", &["100"]);
        let (file, bias) = jvm.libjvm().expect("libjvm");
        let begin = Instant::now();
        let symbols = Symbols::read(&file, bias).expect("symbols");
        let read = begin.elapsed();
        let begin = Instant::now();
        let hotspot = Hotspot::with_symbols(symbols, jvm.memory()).expect("a JVM");
        let opened = begin.elapsed();
        let begin = Instant::now();
        hotspot.threads();
        println!("{}: symbols {read:?}, open {opened:?}, threads {:?}", hotspot.version(), begin.elapsed());
        assert!(opened < Duration::from_millis(500), "{opened:?}");
    }
}
