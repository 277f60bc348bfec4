//! `tracer census` of programs that made what they hold before anything of ours started.

mod common;

use std::error::Error;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use common::fixture::{c_program, fetched_java, java_classes, jdk_home};
use common::lying_core::{LyingCore, SMALL, WITH_HEAP};
use common::process::{Lines, Process};
use common::recorder::tracer_output;
use common::report::number;
use common::skip;
use rustix::process::Signal;
use serde_json::Value;
use tracer::output::Screen;
use tracer::process::Pid;

/// CPU time that reading a small process may take in all: 2 s, and half a second for each GiB that is there.
const READING_CPU: Duration = Duration::from_millis(2_100);
/// The same for who holds what, in an unoptimised build: four times as long, and what marking 16 MiB may take.
const HOLDING_CPU: Duration = Duration::from_millis(9_400);

/// The JSON census of a process.
fn census(pid: Pid) -> Value {
    let output = tracer_output(&["census", "-p", &pid.to_string(), "--format", "json"]);
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "tracer census failed: {stderr}");
    let census: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    common::schema::check("census", &census);
    census
}

/// The text census of a process.
fn text(pid: Pid) -> String {
    let output = tracer_output(&["census", "-p", &pid.to_string()]);
    assert!(output.status.success());
    String::from_utf8(output.stdout).expect("UTF-8")
}

fn is_root() -> bool {
    let root = rustix::process::geteuid().is_root();
    if !root {
        skip("needs root");
    }
    root
}

/// Is `value` within one percent of `truth`?
fn near(value: u64, truth: u64) -> bool {
    value.abs_diff(truth) * 100 <= truth
}

/// The distribution's JDK, which calls the system's zlib, and those with a zlib of their own.
fn javas() -> Vec<PathBuf> {
    let fetched = [11, 17, 21, 25].into_iter().filter_map(fetched_java);
    fetched.chain([jdk_home().join("bin/java")]).collect()
}

fn start_held(java: &Path, flags: &[&str]) -> (Process, Lines) {
    let mut command = Command::new(java);
    command.args(["-Xmx256m", "-XX:MaxDirectMemorySize=200m"]).args(flags);
    command.arg("-cp").arg(java_classes()).arg("Held");
    let (process, mut stdout, _stderr) = Process::start(&mut command);
    stdout.until("ready");
    // A census counts what is there while it is read: exactly, if nothing changes.
    process.until_at_rest();
    (process, stdout)
}

fn check_held(java: &Path, flags: &[&str]) {
    let (process, _stdout) = start_held(java, flags);
    let all = census(process.pid());
    let at = format!("{} {flags:?}: {:#}", java.display(), all["unknown"]);
    let census = &all["census"];
    let (inflate, deflate) = (&census["zlib"]["inflate"], &census["zlib"]["deflate"]);
    assert_eq!((number(inflate, "count"), number(deflate, "count")), (500, 20), "{at}");
    assert!(near(number(inflate, "bytes"), 500 * 7160 + 300 * 32768), "{at} {inflate}");
    // State, window, two hash tables, what is pending.
    assert!(near(number(deflate, "bytes"), 20 * (5952 + 4 * 65536)), "{at} {deflate}");
    let levels: Vec<(Option<u64>, u64)> = census["zlib"]["groups"]
        .as_array()
        .expect("groups")
        .iter()
        .map(|group| (group["level"].as_u64(), number(group, "count")))
        .collect();
    for expected in [(None, 200), (None, 300), (Some(1), 10), (Some(9), 10)] {
        assert!(levels.contains(&expected), "{at} {levels:?}");
    }
    let buffers = &census["direct_buffers"];
    assert_eq!(number(buffers, "count"), 100, "{at}");
    assert_eq!(number(buffers, "capacity_bytes"), 100 << 20, "{at}");
    let named = |rows: &Value, key: &str, name: &str| -> Value {
        let rows = rows.as_array().unwrap_or_else(|| panic!("{at}: no rows"));
        rows.iter().find(|row| row[key] == name).unwrap_or_else(|| panic!("{at}: no {name}")).clone()
    };
    let loaders = named(&census["class_loaders"], "type", "Held$PluginLoader");
    assert_eq!((number(&loaders, "count"), number(&loaders, "classes")), (300, 300), "{at}");
    // Once for each JVM: what they say does not depend on the collector.
    if flags.is_empty() {
        check_metaspace(java, process.pid(), &loaders, &at);
        check_tables(java, process.pid(), &census["symbols"], &at);
    }
    check_heap(java, process.pid(), &census["java_heap"], &at);
    // Each thread has two arenas, which begin with a chunk of one of these lengths.
    let all_threads = number(&census["threads"], "count");
    for length in [216, 984] {
        let lengths = census["jvm_arena_chunks"]["lengths"].as_array().expect("lengths");
        let chunks = lengths.iter().find(|chunks| chunks["length_bytes"] == length).expect("a length");
        assert!((150..all_threads + 50).contains(&number(chunks, "count")), "{at} {chunks}");
    }
    // The JVM's own objects have tables of functions.
    let libraries = census["libraries"].as_array().expect("libraries");
    let libjvm = libraries
        .iter()
        .find(|library| library["path"].as_str().is_some_and(|path| path.ends_with("/libjvm.so")));
    let libjvm = libjvm.unwrap_or_else(|| panic!("{at} {libraries:?}"));
    assert!(number(libjvm, "count") > all_threads, "{at} {libjvm}");
    let threads = named(&census["threads"]["groups"], "name", "request-handler-of-the-web-shop-N");
    assert_eq!(number(&threads, "count"), 150, "{at}");
    let malloc = &census["malloc"];
    assert_eq!(number(malloc, "inconsistent"), 0, "{at}");
    let parts: u64 =
        ["in_use_bytes", "free_bytes", "top_bytes", "own_bytes"].map(|key| number(malloc, key)).iter().sum();
    assert_eq!(parts, number(malloc, "system_bytes"), "{at}");
    assert!(number(&census["jni"], "global_count") > 0, "{at}");
    let code = &census["code_cache"];
    let (used, committed) = (number(code, "used_bytes"), number(code, "committed_bytes"));
    assert!(0 < used && used <= committed && committed <= number(code, "reserved_bytes"), "{at} {code}");
    // The mappings add up to what the kernel counts.
    let memory = &all["memory"];
    let resident: u64 =
        memory["parts"].as_array().expect("parts").iter().map(|part| number(part, "resident_bytes")).sum();
    let rss = number(memory, "rss_bytes");
    assert!(resident.abs_diff(rss) * 50 <= rss, "{at}: {resident} {rss}");
    let kinds: Vec<&Value> =
        all["findings"].as_array().expect("findings").iter().map(|finding| &finding["kind"]).collect();
    for kind in ["direct-buffer", "zlib", "class-loader", "threads"] {
        assert!(kinds.contains(&&Value::from(kind)), "{at}: {kinds:?}");
    }
}

/// Memory that the loaders of one type have in metaspace, against what the JVM says, if it has `jcmd`.
fn check_metaspace(java: &Path, pid: Pid, loaders: &Value, at: &str) {
    let (committed, used) = (number(loaders, "metaspace_bytes"), number(loaders, "metaspace_used_bytes"));
    assert!(0 < used && used <= committed, "{at} {loaders}");
    let Some(text) = jcmd(java, pid, "VM.classloader_stats") else { return };
    // The class, its parent, the loader; classes, bytes in chunks, bytes used; the type.
    let rows = text.lines().filter(|line| line.ends_with("Held$PluginLoader"));
    let cell = |line: &str, index| -> u64 {
        line.split_whitespace().nth(index).and_then(|cell| cell.parse().ok()).expect("a number")
    };
    let (in_chunks, in_use) = rows.fold((0, 0), |sum, row| (sum.0 + cell(row, 4), sum.1 + cell(row, 5)));
    // JDK 17 says words instead of bytes.
    let unit = if in_use * 8 == used { 8 } else { 1 };
    assert_eq!(in_use * unit, used, "{at}");
    // Chunks are committed as far as they are used, or further.
    assert!(committed <= in_chunks * unit, "{at}: {committed} {in_chunks}");
}

/// The used part of the Java heap, against what the JVM says: it uses some more to answer.
fn check_heap(java: &Path, pid: Pid, heap: &Value, at: &str) {
    let used = number(heap, "used_bytes");
    let spaces = heap["spaces"].as_array().expect("spaces");
    let sum: u64 = spaces.iter().map(|space| number(space, "used_bytes")).sum();
    assert!(0 < used && used == sum && used <= number(heap, "committed_bytes"), "{at} {heap}");
    let Some(text) = jcmd(java, pid, "GC.heap_info") else { return };
    // "garbage-first heap   total 262144K, used 2787K [0x", "ZHeap           used 12M, capacity 256M"
    let of_line = |line: &str| -> Option<u64> {
        let cell = line.split_once("used ")?.1.split([' ', ',']).next()?;
        let unit = if cell.ends_with('M') { 1 << 20 } else { 1 << 10 };
        Some(cell.trim_end_matches(['K', 'M']).parse::<u64>().ok()? * unit)
    };
    let lines = text.lines().filter(|line| !line.contains("Metaspace") && !line.contains("class space"));
    let theirs: u64 = lines.filter_map(of_line).sum();
    assert!(used.abs_diff(theirs) <= 4 << 20, "{at}: {used} {text}");
}

/// The tables of symbols and strings, against what the JVM says.
fn check_tables(java: &Path, pid: Pid, tables: &Value, at: &str) {
    let Some(text) = jcmd(java, pid, "VM.symboltable") else { return };
    // "Number of entries       :     19838 =    317408 bytes, each 16", "Total footprint : = 1379400 bytes"
    let cell = |text: &str, line: &str, mark: char| -> u64 {
        let line = text
            .lines()
            .find(|row| row.starts_with(line))
            .unwrap_or_else(|| panic!("{at}: no {line}: {text}"));
        let value = line.rsplit(mark).next().and_then(|rest| rest.split_whitespace().next());
        value.and_then(|value| value.parse().ok()).unwrap_or_else(|| panic!("{at}: {line}"))
    };
    // To answer, the JVM makes symbols and strings of its own.
    let (count, bytes) = (number(tables, "symbol_count"), number(tables, "symbol_bytes"));
    assert!(near(count, cell(&text, "Number of entries", ':')), "{at}: {count} {text}");
    assert!(near(bytes, cell(&text, "Total footprint", '=')), "{at}: {bytes} {text}");
    let text = jcmd(java, pid, "VM.stringtable").expect("it was there");
    let count = number(tables, "string_count");
    assert!(count.abs_diff(cell(&text, "Number of entries", ':')) <= 50, "{at}: {count} {text}");
    assert!(number(tables, "string_bytes") > count * 16, "{at}");
}

/// Answer of the JVM to a command of `jcmd`, which lies beside its launcher.
fn jcmd(java: &Path, pid: Pid, command: &str) -> Option<String> {
    let jcmd = java.with_file_name("jcmd");
    if !jcmd.exists() {
        return None;
    }
    let output = Command::new(jcmd).arg(pid.to_string()).arg(command).output().expect("jcmd");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Some(String::from_utf8(output.stdout).expect("UTF-8"))
}

#[test]
fn what_a_jvm_held_before_is_counted_exactly() {
    if !is_root() {
        return;
    }
    for java in javas() {
        check_held(&java, &[]);
    }
}

#[test]
fn other_collectors_and_uncompressed_references() {
    if !is_root() {
        return;
    }
    let java = fetched_java(21).unwrap_or_else(|| jdk_home().join("bin/java"));
    for flags in [
        &["-XX:+UseSerialGC"][..],
        &["-XX:+UseParallelGC", "-XX:-UseCompressedOops"],
        &["-XX:+UseZGC"],
        &["-XX:+UseZGC", "-XX:+ZGenerational"],
    ] {
        check_held(&java, flags);
    }
}

/// Makes contexts and connections of OpenSSL, ends some, says "ready" and waits for a line.
const TLS: &str = "
import ssl
contexts = [ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT) for _ in range(70)]
for context in contexts:
    context.check_hostname = False
connections = [contexts[i].wrap_bio(ssl.MemoryBIO(), ssl.MemoryBIO()) for i in range(45)]
del contexts[60:], connections[40:], context
print('ready', flush=True)
input()
";

#[test]
fn contexts_and_connections_of_openssl() {
    if !is_root() {
        return;
    }
    let mut command = Command::new("python3");
    let (process, mut stdout, _stderr) = Process::start(command.args(["-c", TLS]));
    stdout.until("ready");
    let openssl = &census(process.pid())["census"]["openssl"];
    assert_eq!(number(&openssl["contexts"], "count"), 60, "{openssl}");
    assert_eq!(number(&openssl["connections"], "count"), 40, "{openssl}");
    let bytes = number(&openssl["connections"], "bytes");
    assert!((40 * 1000..40 * 20_000).contains(&bytes), "{openssl}");
}

/// Makes contexts of zstd, works with some, ends some, takes 114 MiB for something else, says "ready" and waits for a
/// line.
const ZSTD: &str = "
import ctypes
z = ctypes.CDLL('libzstd.so.1')
for name in ['ZSTD_createCCtx', 'ZSTD_createDCtx']:
    getattr(z, name).restype = ctypes.c_void_p
z.ZSTD_compressCCtx.restype = z.ZSTD_decompressDCtx.restype = ctypes.c_size_t
text, packed, unpacked = bytes(range(256)) * 400, ctypes.create_string_buffer(200000), ctypes.create_string_buffer(200000)
def size(number): return ctypes.c_size_t(number)
def compress():
    context = ctypes.c_void_p(z.ZSTD_createCCtx())
    return context, z.ZSTD_compressCCtx(context, packed, size(len(packed)), text, size(len(text)), 3)
compressing = [compress() for _ in range(50)]
length = compressing[0][1]
def decompress():
    context = ctypes.c_void_p(z.ZSTD_createDCtx())
    assert z.ZSTD_decompressDCtx(context, unpacked, size(len(unpacked)), packed, size(length)) == len(text)
    return context
decompressing = [decompress() for _ in range(40)]
for context, _ in compressing[:10]: z.ZSTD_freeCCtx(context)
for context in decompressing[:15]: z.ZSTD_freeDCtx(context)
z.ZSTD_sizeof_CCtx.restype = z.ZSTD_sizeof_DCtx.restype = ctypes.c_size_t
kept = [bytes([1]) * 20000 for _ in range(6000)]
made = sum(z.ZSTD_sizeof_CCtx(context) for context, _ in compressing[10:])
print('ready', made, sum(z.ZSTD_sizeof_DCtx(context) for context in decompressing[15:]), flush=True)
input()
";

#[test]
fn contexts_of_zstd() {
    if !is_root() {
        return;
    }
    let mut command = Command::new("python3");
    let (process, mut stdout, _stderr) = Process::start(command.args(["-c", ZSTD]));
    let said = stdout.until("ready");
    let census = census(process.pid());
    let zstd = &census["census"]["zstd"];
    let truths: Vec<u64> = said.split_whitespace().filter_map(|word| word.parse().ok()).collect();
    assert_eq!(truths.len(), 2, "{said}");
    for (kind, count, truth) in [("compress", 40, truths[0]), ("decompress", 25, truths[1])] {
        assert_eq!(number(&zstd[kind], "count"), count, "{zstd}");
        // malloc rounds, and a block that is mapped alone takes whole pages.
        let bytes = number(&zstd[kind], "bytes");
        assert!((truth..truth + count * 2 * 4096).contains(&bytes), "{truth} {zstd}");
    }
    let findings = census["findings"].as_array().expect("findings");
    let of =
        |kind: &str| findings.iter().find(|finding| finding["kind"] == kind).map(|it| number(it, "bytes"));
    assert_eq!(of("zstd"), Some(number(&zstd["compress"], "bytes")), "{findings:?}");
    // The other blocks are of one size.
    let equal = of("equal-blocks").unwrap_or(0);
    assert!((6_000 * 20_000..160_000_000).contains(&equal), "{findings:?}");
}

#[test]
fn a_stopped_process_is_read_and_stays_stopped() {
    if !is_root() {
        return;
    }
    let (process, _stdout) = start_held(&jdk_home().join("bin/java"), &[]);
    process.stop();
    let census = census(process.pid());
    assert_eq!(number(&census["census"]["zlib"]["inflate"], "count"), 500);
    assert!(process.is_stopped());
    let text = text(process.pid());
    for words in [
        "Findings",
        "500 inflate states",
        "JVM arenas (compilers, threads)",
        "libjvm.so",
        "direct buffers",
        "malloc's arenas",
        "tracer record -p",
    ] {
        assert!(text.contains(words), "{words}:\n{text}");
    }
    process.signal(Signal::CONT);
}

#[test]
fn a_core_says_what_the_process_said() {
    if !is_root() {
        return;
    }
    let (process, _stdout) = start_held(&jdk_home().join("bin/java"), &["-XX:+UseSerialGC"]);
    process.stop();
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("core");
    common::core::write(process.pid(), &path);
    let live = census(process.pid());
    drop(process);
    let path = path.to_str().expect("UTF-8");
    let output = tracer_output(&["census", "--core", path, "--format", "json"]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let core: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    let (live, core) = (&live["census"], &core["census"]);
    for key in ["zlib", "direct_buffers", "class_loaders", "code_cache", "jni"] {
        assert_eq!(live[key], core[key], "{key}");
    }
    for key in ["in_use_bytes", "free_bytes", "top_bytes", "mmapped_bytes", "inconsistent", "sizes"] {
        assert_eq!(live["malloc"][key], core["malloc"][key], "{key}");
    }
    assert_eq!(live["threads"]["count"], core["threads"]["count"]);
    assert!(core["malloc"]["arenas"][0]["resident_bytes"].is_null());
}

#[test]
fn cores_that_lie_end_in_an_answer_or_a_refusal() {
    if !is_root() {
        return;
    }
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("core");
    let (process, _stdout) = start_held(&jdk_home().join("bin/java"), &["-XX:+UseSerialGC", "-Xmx16m"]);
    process.stop();
    common::core::write(process.pid(), &path);
    drop(process);
    let options = tracer::holders::Options::default();
    let look = || {
        let look = tracer::holders::of_core(&path, &options)?;
        let holders = look.result.map_err(|error| error.to_string())?;
        let text = tracer::output::holders::render(&holders, &look.subject, Screen::default());
        Ok::<_, Box<dyn Error>>((text, tracer::output::holders::value(&holders, &look.subject).to_string()))
    };
    // It is understood as it is: what is changed is no longer that of a file that says nothing anyway.
    let (text, _) = look().expect("who holds what");
    assert!(text.contains("Inflater"), "{text}");
    let mut whole = 0;
    let censuses = LyingCore::open(&path, SMALL).each_lie(READING_CPU, 200 << 20, || {
        let census = tracer::census::of_core(&path)?;
        whole += u32::from(census.census.malloc.is_some() && census.census.class_loaders.is_some());
        let json = serde_json::to_string(&census)?;
        Ok((tracer::output::census::render(&census, Screen::default()), json))
    });
    // One of them is of the core as it is.
    assert!(censuses >= 4 && whole >= 2, "{censuses} censuses, {whole} of them with all parts");
    let looks = LyingCore::open(&path, WITH_HEAP).each_lie(HOLDING_CPU, 400 << 20, look);
    assert!(looks >= 4, "{looks} looks");
}

#[test]
fn what_malloc_keeps_after_a_burst() {
    if !is_root() {
        return;
    }
    let mut command = Command::new(c_program("heap"));
    command.args(["4", "20000"]).env("MALLOC_ARENA_MAX", "2");
    let (process, mut stdout, _stderr) = Process::start(&mut command);
    let mut kept = 0;
    loop {
        let line = stdout.next();
        if line.starts_with("made") {
            break;
        }
        if line.starts_with("<total type=\"rest\"") || line.starts_with("<total type=\"fast\"") {
            // The last of each is the sum.
            let size = line.split("size=\"").nth(1).and_then(|rest| rest.split('"').next());
            let size: u64 = size.and_then(|size| size.parse().ok()).expect("a size");
            kept = if line.contains("fast") { size } else { kept + size };
        }
    }
    let census = census(process.pid());
    let malloc = &census["census"]["malloc"];
    let ours = number(malloc, "free_bytes") + number(malloc, "top_bytes");
    assert!(ours.abs_diff(kept) * 50 <= kept, "{ours} {kept}");
    assert!(census["census"]["direct_buffers"].is_null() && census["target"]["jvm"].is_null());
    let kinds: Vec<&Value> =
        census["findings"].as_array().expect("findings").iter().map(|finding| &finding["kind"]).collect();
    assert!(kinds.contains(&&Value::from("malloc-free")), "{kinds:?}");
}

#[test]
fn errors_say_what_mends_them() {
    let output = tracer_output(&["census", "-p", "4194304"]);
    assert_eq!(output.status.code(), Some(1));
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(stderr.starts_with("error: no process with pid 4194304\nhelp: "), "{stderr}");
    assert_eq!(tracer_output(&["census"]).status.code(), Some(2));
    let output = tracer_output(&["census", "--core", "/bin/sh"]);
    assert_eq!(output.status.code(), Some(1));
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(stderr.starts_with("error: core file /bin/sh: it is no core file"), "{stderr}");
}
