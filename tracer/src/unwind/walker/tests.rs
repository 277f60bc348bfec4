//! Walks of threads that stand still, against the chain of calls that their program makes.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

use object::{Object, ObjectSymbol};
use tracer_common::unwind::frame_kind;

use super::*;
use crate::process::mapping::{self, Mapping};
use crate::process::memory::{ImageMemory, LiveMemory};
use crate::process::{Pid, Tid};
use crate::unwind::still::{Started, StoppedThread, tables, threads};

/// Compiles the program with `flags`, starts it, and waits until its thread rests.
fn start_chain(flags: &[&str], folder: &Path) -> Started {
    let program = folder.join("chain");
    let source = concat!(env!("CARGO_MANIFEST_DIR"), "/src/unwind/walker/chain.c");
    let status = Command::new("cc").args(flags).arg("-o").arg(&program).args([source, "-pthread"]).status();
    assert!(status.unwrap().success(), "cc");
    Started::when_ready(&mut Command::new(&program)).unwrap()
}

/// The names of a stack's frames, from the symbol tables of the mapped files.
fn names(pid: Pid, mappings: &[Mapping], frames: &[Frame]) -> Vec<String> {
    let mut files: BTreeMap<u64, Vec<u8>> = BTreeMap::new();
    let mut name = |frame: &Frame| {
        assert_eq!(frame.kind, frame_kind::NATIVE);
        let pc = frame.pc - 1 + u64::from(frame.extra);
        let mapping = mappings.iter().find(|m| (m.start..m.end).contains(&pc)).unwrap();
        let bytes = files
            .entry(mapping.inode)
            .or_insert_with(|| std::fs::read(mapping.map_file(pid)).unwrap_or_default());
        let Ok(file) = object::File::parse(&**bytes) else { return "?".to_owned() };
        let table = crate::unwind::table::compile(&**bytes).unwrap();
        let bias = table.bias(mapping.start, mapping.offset).unwrap();
        let vaddr = (pc - bias) + table.first_vaddr;
        let inside = |symbol: &object::Symbol<'_, '_>| {
            (symbol.address()..symbol.address() + symbol.size()).contains(&vaddr)
        };
        let symbol = file.symbols().chain(file.dynamic_symbols()).find(inside);
        symbol.map_or("?".to_owned(), |symbol| symbol.name().unwrap().to_owned())
    };
    frames.iter().map(&mut name).collect()
}

/// Functions of the program in the order in which they must appear, with what the C library puts between them left out.
const CHAIN: [&str; 13] = [
    "rest",
    "compare",
    "variable",
    "aligned",
    "large",
    "handler",
    "recurse",
    "recurse",
    "recurse",
    "recurse",
    "recurse",
    "recurse",
    "thread_main",
];

#[test]
fn a_known_chain_through_libc_a_signal_and_an_alternate_stack() {
    let folder = tempfile::tempdir().unwrap();
    let options: [&[&str]; 4] = [
        &["-O2", "-fomit-frame-pointer", "-fno-optimize-sibling-calls"],
        &["-O0"],
        &["-O2", "-fno-optimize-sibling-calls", "-no-pie", "-static"],
        &["-O2", "-fno-optimize-sibling-calls", "-fcf-protection=none", "-Wl,-z,noseparate-code"],
    ];
    for flags in options {
        let target = start_chain(flags, folder.path());
        let pid = target.pid();
        let threads = threads(pid);
        assert_eq!(threads.len(), 2, "{threads:?}");
        let mappings = mapping::read(pid).unwrap();
        let memory = LiveMemory::open(pid).unwrap();
        let tables = tables(pid, &mappings, &memory);
        assert_eq!(tables.problems().1, 0, "{:?}", tables.problems());

        let held = StoppedThread::new(threads[1].0.0).unwrap();
        let stack = Walker::new(&memory, &tables, Jvm::ZERO).walk(held.state);
        assert_eq!(stack.stop, Stop::Complete, "{flags:?}: {:x?}", stack.frames);
        let names = names(pid, &mappings, &stack.frames);
        let own: Vec<&str> = names.iter().map(String::as_str).filter(|name| CHAIN.contains(name)).collect();
        assert_eq!(own, CHAIN, "{flags:?}: {names:?}");
        assert_eq!(stack.frames.iter().filter(|frame| frame.extra == 1).count(), 2, "{names:?}");

        // The same from saved stack bytes, when the process is gone.
        let (image, state) = (saved_stacks(&mappings, &memory), held.state);
        drop(held);
        let main = StoppedThread::new(threads[0].0.0).unwrap();
        let main_stack = Walker::new(&memory, &tables, Jvm::ZERO).walk(main.state);
        assert_eq!(main_stack.stop, Stop::Complete, "{flags:?}: the main thread, to _start");
        drop(main);
        drop(target);
        let again = Walker::new(&image, &tables, Jvm::ZERO).walk(state);
        assert_eq!(again, stack);
    }
}

/// Writable memory, mapping by mapping, without what is too large for a thread's stack.
fn saved_stacks(mappings: &[Mapping], memory: &LiveMemory) -> ImageMemory {
    let writable = mappings.iter().filter(|m| m.writable && m.readable);
    let ranges = writable.filter_map(|m| {
        let mut bytes = vec![0; usize::try_from(m.end - m.start).ok().filter(|n| *n <= 64 << 20)?];
        memory.read(m.start, &mut bytes).ok()?;
        Some((m.start, bytes))
    });
    ImageMemory::new(ranges.collect())
}

/// A JVM at rest, if there is a `java`.
fn start_jvm(folder: &Path) -> Option<Started> {
    let source = folder.join("Rest.java");
    let program = "class Rest { public static void main(String[] a) throws Exception {\n\
                   System.out.println(\"ready\"); System.in.read(); } }";
    std::fs::write(&source, program).unwrap();
    let target = Started::when_ready(Command::new("java").arg(&source)).ok();
    if target.is_none() {
        assert!(std::env::var_os("TRACER_REQUIRE_ROOT").is_none(), "no java to test with");
        eprintln!("skipped: no java");
    }
    target
}

/// Collectors, compilers, the VM's own: no Java below them.
fn runs_no_java(comm: &str) -> bool {
    let native = ["GC Thread", "G1 ", "C1 Compiler", "C2 Compiler", "VM Thread", "VM Periodic"];
    native.iter().any(|prefix| comm.starts_with(prefix))
}

#[test]
fn threads_of_a_jvm_that_run_no_java_reach_their_entry() {
    let folder = tempfile::tempdir().unwrap();
    let Some(target) = start_jvm(folder.path()) else { return };
    let pid = target.pid();
    let mappings = mapping::read(pid).unwrap();
    let memory = LiveMemory::open(pid).unwrap();
    let tables = tables(pid, &mappings, &memory);
    let mut walked = Vec::new();
    for (tid, comm) in threads(pid) {
        if runs_no_java(&comm) {
            let Some(held) = StoppedThread::new(tid.0) else { continue };
            let stack = Walker::new(&memory, &tables, Jvm::ZERO).walk(held.state);
            assert_eq!(stack.stop, Stop::Complete, "{comm}: {:x?}", stack.frames);
            assert!(stack.frames.len() > 4, "{comm}: {:x?}", stack.frames);
            walked.push(comm);
        }
    }
    assert!(walked.len() >= 4, "{walked:?}");
}

/// Commands for what gdb prints of every thread: its id, and the pcs of the frames that are on its stack.
const BACKTRACES: &str = "python
for thread in gdb.selected_inferior().threads():
    thread.switch()
    frame, pcs = gdb.newest_frame(), []
    while frame is not None:
        if frame.type() in (gdb.NORMAL_FRAME, gdb.SIGTRAMP_FRAME):
            pcs.append(frame.pc())
        frame = frame.older()
    print('thread', thread.ptid[1], *pcs)
";

/// The backtraces of all threads of `pid`, by thread id.
fn by_gdb(folder: &Path, pid: Pid) -> Option<BTreeMap<Tid, Vec<u64>>> {
    let script = folder.join("backtraces.gdb");
    std::fs::write(&script, BACKTRACES).unwrap();
    let past_main = ["-ex", "set backtrace past-main on", "-ex", "set backtrace past-entry on"];
    let mut gdb = Command::new("gdb");
    gdb.args(["-nx", "-q", "-batch"]).args(past_main).args(["-p", &pid.to_string(), "-x"]).arg(script);
    // Nothing is fetched from anywhere.
    let output = gdb.env_remove("DEBUGINFOD_URLS").output().ok()?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let thread = |line: &str| {
        let mut numbers = line.strip_prefix("thread ")?.split(' ');
        let tid = numbers.next()?.parse().ok()?;
        Some((tid, numbers.map(|pc| pc.parse().unwrap()).collect()))
    };
    Some(text.lines().filter_map(thread).collect()).filter(|threads: &BTreeMap<_, _>| !threads.is_empty())
}

/// Walks the threads of `target` that `wanted` names, and compares them with what gdb says of them. Gives
/// how many were compared, `None` without gdb.
fn compare_with_gdb(folder: &Path, target: &Started, wanted: impl Fn(&str) -> bool) -> Option<usize> {
    let pid = target.pid();
    let mappings = mapping::read(pid).unwrap();
    let memory = LiveMemory::open(pid).unwrap();
    let tables = tables(pid, &mappings, &memory);
    let walk = || -> BTreeMap<Tid, Stack> {
        let wanted = threads(pid).into_iter().filter(|(_, comm)| wanted(comm));
        wanted
            .filter_map(|(tid, _)| {
                let held = StoppedThread::new(tid.0)?;
                Some((tid, Walker::new(&memory, &tables, Jvm::ZERO).walk(held.state)))
            })
            .collect()
    };
    let before = walk();
    let theirs = by_gdb(folder, pid)?;
    let mut compared = 0;
    // Those that stood still meanwhile.
    for (tid, stack) in walk().into_iter().filter(|(tid, stack)| before.get(tid) == Some(stack)) {
        assert_eq!(stack.stop, Stop::Complete, "{:x?}", stack.frames);
        let pcs: Vec<u64> = stack.frames.iter().map(|frame| frame.pc).collect();
        assert_eq!(theirs.get(&tid), Some(&pcs), "thread {tid}");
        compared += 1;
    }
    Some(compared)
}

#[test]
fn threads_at_rest_as_a_debugger_sees_them() {
    let folder = tempfile::tempdir().unwrap();
    let chain = start_chain(&["-O2", "-fno-optimize-sibling-calls"], folder.path());
    let Some(compared) = compare_with_gdb(folder.path(), &chain, |_| true) else {
        assert!(std::env::var_os("TRACER_REQUIRE_ROOT").is_none(), "no gdb to compare with");
        eprintln!("skipped: no gdb (cargo xtask setup --tests)");
        return;
    };
    assert_eq!(compared, 2);
    drop(chain);
    let Some(jvm) = start_jvm(folder.path()) else { return };
    jvm.until_at_rest();
    // These run now and then all the same.
    let is_periodic = |comm: &str| ["VM Periodic", "G1 Service"].iter().any(|it| comm.starts_with(it));
    let compared = compare_with_gdb(folder.path(), &jvm, |comm| runs_no_java(comm) && !is_periodic(comm));
    assert!(compared.is_some_and(|compared| compared >= 3), "{compared:?}");
}
