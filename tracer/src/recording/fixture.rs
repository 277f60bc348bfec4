//! A small recording made by hand, for tests of all that reads one.

mod census;
mod holders;
mod mutation;
pub(crate) mod secrets;

use std::path::{Path, PathBuf};

use tracer_common::{stack::StackId, table::StackTotals};

pub(crate) use self::census::census;
pub(crate) use self::holders::holders;
pub(crate) use self::mutation::mutate;
use super::{
    CensusMoment, CodeCache, CodeHeap, CodeSample, Collection, CompiledMethod, End, FirstTouches, Header,
    Heap, HeapArena, JvmInfo, LiveResident, LiveSize, MappedMemory, Memory, MemoryPart, Quality,
    RecordedCensus, SessionInfo, Survivors, TargetInfo, ThreadLive, ThreadStack, TouchedBy, Writer,
};
use crate::limits::Limit;
use crate::process::{Pid, Tid};
use crate::symbolize::{Frame, FrameKind, Tier, UnknownReason};

/// CLOCK_MONOTONIC at the start.
pub(crate) const START_NS: u64 = 1_000_000_000_000;
/// A second.
pub(crate) const SECOND_NS: u64 = 1_000_000_000;

pub(crate) const INFLATER: StackId = StackId(0xfedc_ba98_7654_3210);
pub(crate) const BUFFER: StackId = StackId(12);
pub(crate) const COMPILER: StackId = StackId(13);
pub(crate) const CUT: StackId = StackId(14);
pub(crate) const THREAD: StackId = StackId(15);
pub(crate) const INFLATER_WARM: StackId = StackId(16);

/// A folder for a recording, and the recording's path in it.
pub(crate) fn folder() -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().expect("folder");
    let path = folder.path().join("sample.trec");
    (folder, path)
}

pub(crate) fn header() -> Header {
    Header {
        target: TargetInfo {
            pid: Pid(4711),
            comm: "java".to_owned(),
            command: ["java", "-Xmx64m", "-cp", "app.jar", "com.acme.Feed"].map(str::to_owned).to_vec(),
            exe: Some("/usr/lib/jvm/java-17/bin/java".to_owned()),
            container: None,
            jvm: Some(JvmInfo {
                version: Some("17.0.12+7".to_owned()),
                vendor: Some("Debian".to_owned()),
                gc: None,
                java_home: Some("/usr/lib/jvm/java-17".to_owned()),
            }),
        },
        session: SessionInfo {
            started: "2025-11-22T01:30:00.000Z".to_owned(),
            started_ns: START_NS,
            probes: "full".to_owned(),
            sample_bytes: None,
            gc_probes: true,
            ..SessionInfo::default()
        },
    }
}

pub(crate) fn native(function: &str, module: &str) -> Frame {
    Frame {
        module: Some(module.to_owned()),
        build_id: Some("c0ffee".to_owned()),
        offset: Some(0x1234),
        ..Frame::named(function, FrameKind::Native)
    }
}

pub(crate) fn java(function: &str, line: u32, tier: Tier) -> Frame {
    let class = function.rsplit('.').nth(1).unwrap_or("X");
    Frame {
        file: Some(format!("{class}.java")),
        line: Some(line),
        tier: Some(tier),
        ..Frame::named(function, FrameKind::Java)
    }
}

pub(crate) fn totals(allocated: (u64, u64), freed: (u64, u64)) -> StackTotals {
    StackTotals {
        allocated_bytes: allocated.0,
        allocated_count: allocated.1,
        freed_bytes: freed.0,
        freed_count: freed.1,
        collected_bytes: 0,
        ..StackTotals::ZERO
    }
}

const LIBC: &str = "/usr/lib/x86_64-linux-gnu/libc.so.6";
const LIBZ: &str = "/usr/lib/x86_64-linux-gnu/libz.so.1.2.13";
const LIBJVM: &str = "/usr/lib/jvm/java-17/lib/server/libjvm.so";

fn inflater(tier: Tier) -> Vec<Frame> {
    vec![
        native("malloc", LIBC),
        native("inflateInit2_", LIBZ),
        native("Java_java_util_zip_Inflater_init", "/usr/lib/jvm/java-17/lib/libzip.so"),
        java("java.util.zip.Inflater.init", 0, Tier::C1),
        java("java.util.zip.Inflater.<init>", 109, tier),
        java("java.util.zip.GZIPInputStream.<init>", 77, tier),
        java("com.acme.Feed.open", 17, tier),
        java("com.acme.Feed.main", 42, Tier::Interpreted),
        Frame::named("StubRoutines (1)", FrameKind::Stub),
        native("JavaCalls::call_helper(JavaValue*, methodHandle const&)", LIBJVM),
        native("start_thread", LIBC),
    ]
}

/// Writes the sample up to its last tick.
pub(crate) fn write(path: &Path) -> Writer {
    let mut writer = Writer::create(path, false, &header()).expect("create");
    writer
        .jvm(&JvmInfo { gc: Some("G1".to_owned()), ..header().target.jvm.unwrap_or_default() })
        .expect("jvm");
    writer.stack(INFLATER, &inflater(Tier::Interpreted), true, "complete").expect("stack");
    // The same way once it is compiled: other frames, the same site.
    writer.stack(INFLATER_WARM, &inflater(Tier::Inlined), true, "complete").expect("stack");
    let buffer = [
        native("malloc", LIBC),
        native("os::malloc(unsigned long, MEMFLAGS)", LIBJVM),
        native("Unsafe_AllocateMemory0", LIBJVM),
        java("jdk.internal.misc.Unsafe.allocateMemory0", 0, Tier::C2),
        java("java.nio.DirectByteBuffer.<init>", 118, Tier::Inlined),
        java("java.nio.ByteBuffer.allocateDirect", 332, Tier::Inlined),
        java("com.acme.Pool.fill", 9, Tier::C2),
        native("start_thread", LIBC),
    ];
    writer.stack(BUFFER, &buffer, true, "complete").expect("stack");
    let compiler = [
        native("malloc", LIBC),
        native("Arena::grow(unsigned long, AllocFailStrategy::AllocFailEnum)", LIBJVM),
        native("Compile::Compile(ciEnv*, ciMethod*, int)", LIBJVM),
        native("CompileBroker::compiler_thread_loop()", LIBJVM),
        native("start_thread", LIBC),
    ];
    writer.stack(COMPILER, &compiler, true, "complete").expect("stack");
    let cut = [
        native("malloc", LIBC),
        Frame {
            module: Some("/opt/lib/libacme.so".to_owned()),
            offset: Some(0x77),
            ..Frame::unknown(FrameKind::Native, UnknownReason::NoSymbol)
        },
    ];
    writer.stack(CUT, &cut, false, "no row").expect("stack");
    let thread = [
        native("mmap64", LIBC),
        native("pthread_create", LIBC),
        native("os::create_thread(Thread*, os::ThreadType, unsigned long)", LIBJVM),
        native("JVM_StartThread", LIBJVM),
        java("java.lang.Thread.start0", 0, Tier::Interpreted),
        java("com.acme.Feed.spawn", 23, Tier::Interpreted),
        native("start_thread", LIBC),
    ];
    writer.stack(THREAD, &thread, true, "complete").expect("stack");
    writer.thread(Tid(4711), Some("main"), None, None, None).expect("thread");
    writer
        .thread(Tid(4800), Some("pool-1-thread-1"), Some(START_NS + SECOND_NS), None, Some(THREAD))
        .expect("thread");
    writer
        .thread(
            Tid(4801),
            Some("pool-1-thread-2"),
            Some(START_NS + SECOND_NS),
            Some(START_NS + 2 * SECOND_NS),
            Some(THREAD),
        )
        .expect("thread");
    for tick in 1..=10_u64 {
        let time_ns = START_NS + tick * SECOND_NS;
        // A stream keeps 40,040 bytes in 3 pieces; every tenth one is not closed.
        let pieces = 30 * tick;
        writer
            .allocator_totals(
                time_ns,
                &[
                    (INFLATER, totals((400_400 * tick.min(4), pieces.min(120)), (360_360 * tick.min(4), 0))),
                    (
                        INFLATER_WARM,
                        totals((400_400 * tick.saturating_sub(4), 30 * tick.saturating_sub(4)), (0, 0)),
                    ),
                    (BUFFER, totals((4 << 20, 4), (0, 0))),
                    (COMPILER, totals((32_768 * tick, tick), (32_768 * tick, tick))),
                    (CUT, totals((1_999_993, 1), (0, 0))),
                ],
            )
            .expect("totals");
        writer
            .mapping_totals(
                time_ns,
                &[
                    (THREAD, "stack", totals((2 << 20, 2), (1 << 20, 1))),
                    (CUT, "anonymous", totals((1 << 16, 1), (0, 0))),
                ],
            )
            .expect("totals");
        writer.tick(time_ns).expect("tick");
    }
    writer
        .live_by_thread(
            &[
                (INFLATER, 4711, 160_160, 120),
                (INFLATER_WARM, 4711, 2_402_400, 180),
                (BUFFER, 4800, 4 << 20, 4),
                (CUT, 9999, 1_999_993, 1),
            ]
            .map(|(stack, tid, live_bytes, live_count)| ThreadLive {
                stack,
                tid: Tid(tid),
                live_bytes,
                live_count,
            }),
        )
        .expect("live");
    writer
        .live_resident(
            &[(INFLATER, 160_160), (INFLATER_WARM, 2_000_000), (BUFFER, 1 << 20), (CUT, 0)]
                .map(|(stack, resident_bytes)| LiveResident { stack, resident_bytes }),
        )
        .expect("resident");
    let begin_ns = START_NS + 3 * SECOND_NS;
    writer.gc(Collection { begin_ns, end_ns: None, full: true }).expect("gc");
    writer.gc(Collection { begin_ns, end_ns: Some(begin_ns + 5_000_000), full: true }).expect("gc");
    writer
        .survivors(
            &[
                (INFLATER, 0, START_NS, 120_120, 90),
                (INFLATER, 1, START_NS + 3 * SECOND_NS, 40_040, 30),
                (INFLATER_WARM, 1, START_NS + 4 * SECOND_NS, 2_402_400, 180),
                (BUFFER, 0, START_NS, 4 << 20, 4),
                (CUT, 0, START_NS, 1_999_993, 1),
            ]
            .map(|(stack, epoch, born_ns, live_bytes, live_count)| Survivors {
                stack,
                epoch,
                born_ns,
                live_bytes,
                live_count,
            }),
        )
        .expect("survivors");
    writer
        .live_by_size(
            &[
                (INFLATER, 1_024, 120 * 1_024, 80),
                (INFLATER, 512, 160_160 - 120 * 1_024, 40),
                (INFLATER_WARM, 8_192, 2_402_400, 180),
                (BUFFER, 1 << 20, 4 << 20, 4),
                (CUT, 1 << 20, 1_999_993, 1),
            ]
            .map(|(stack, least_bytes, live_bytes, live_count)| LiveSize {
                stack,
                least_bytes,
                live_bytes,
                live_count,
            }),
        )
        .expect("sizes");
    writer.lost(&[("lost_event", 0), ("lost_pending", 2)]).expect("lost");
    writer
        .quality(&Quality {
            unmatched_frees: Some(31),
            stacks_total: Some(1_000),
            stacks_complete: Some(999),
            stacks_remembered: Some(930),
            heaviest_sample: None,
        })
        .expect("quality");
    writer.note("perf maps were not read").expect("note");
    writer
        .memory(
            START_NS + 10 * SECOND_NS,
            &Memory {
                rss_bytes: Some(222_700_000),
                limit_bytes: Some(512 << 20),
                limits: Some(vec![Limit {
                    id: "cgroup-memory".to_owned(),
                    used: Some(300 << 20),
                    limit: Some(512 << 20),
                    set_by: Some("/sys/fs/cgroup/app/memory.max".to_owned()),
                    ..Limit::default()
                }]),
                unexplained_bytes: Some(3 << 20),
                parts: [
                    ("java-heap", 64 << 20, 32 << 20, 20 << 20),
                    ("malloc-arena", 256 << 20, 200 << 20, 180 << 20),
                    ("thread-stack", 16 << 20, 16 << 20, 9_839_072),
                    ("unexplained", 4 << 20, 4 << 20, 3 << 20),
                ]
                .map(|(id, reserved, committed, resident)| MemoryPart {
                    id: id.to_owned(),
                    reserved_bytes: Some(reserved),
                    committed_bytes: Some(committed),
                    resident_bytes: Some(resident),
                    pss_bytes: Some(resident),
                    swap_bytes: Some(0),
                })
                .to_vec(),
                mapped: vec![MappedMemory {
                    stack: CUT,
                    reserved_bytes: 1 << 20,
                    committed_bytes: 1 << 20,
                    resident_bytes: 1 << 20,
                }],
                heap: Some(Heap {
                    arenas: vec![HeapArena {
                        is_main: true,
                        thread_count: 2,
                        resident_bytes: Some(180 << 20),
                        in_use_bytes: 100 << 20,
                        in_use_count: 1_000,
                        free_bytes: 60 << 20,
                        top_bytes: 20 << 20,
                    }],
                    ..Heap::default()
                }),
                ..Memory::default()
            },
        )
        .expect("memory");
    for (moment, second, inflaters) in [(CensusMoment::Begin, 0, 100), (CensusMoment::End, 10, 400)] {
        let time_ns = START_NS + second * SECOND_NS;
        let recorded = RecordedCensus { moment, time_ns, census: Ok(Box::new(census(inflaters))) };
        writer.census(&recorded).expect("census");
    }
    writer
        .thread_stacks(&[
            ThreadStack { tid: Some(Tid(4711)), reserved_bytes: 8 << 20, resident_bytes: 100 << 10 },
            ThreadStack { tid: Some(Tid(4800)), reserved_bytes: 1 << 20, resident_bytes: 20 << 10 },
            ThreadStack { tid: None, reserved_bytes: 1 << 20, resident_bytes: 12 << 10 },
        ])
        .expect("stacks");
    let touched = |stack, owner: &str, samples| TouchedBy {
        stack,
        owner: owner.to_owned(),
        sample_count: samples,
        fault_count: 16 * samples,
        variance: 16 * 15 * samples,
    };
    let by = vec![touched(INFLATER, "malloc-arena", 40), touched(INFLATER, "thread-stack", 2)];
    writer.touched(&FirstTouches { fault_count: 1_000, java_heap_fault_count: 300, by }).expect("touched");
    let code = CodeSample {
        time_ns: START_NS + SECOND_NS,
        loaded_bytes: 50_000,
        loaded_count: 40,
        unloaded_bytes: 1_000,
        unloaded_count: 1,
    };
    writer.code_sample(code).expect("code");
    writer
        .code_cache(&CodeCache {
            heaps: vec![CodeHeap {
                name: "CodeHeap 'non-nmethods'".to_owned(),
                reserved_bytes: Some(6 << 20),
                committed_bytes: Some(3 << 20),
                used_bytes: Some(1_500_000),
            }],
            methods: vec![CompiledMethod {
                method: "com.acme.Feed.open".to_owned(),
                tier: Some("c2".to_owned()),
                bytes: 4_096,
            }],
        })
        .expect("code cache");
    writer
}

/// The finished sample.
pub(crate) fn finished() -> (tempfile::TempDir, PathBuf) {
    let (folder, path) = folder();
    write(&path).finish(&End { duration_ns: 10 * SECOND_NS, reason: "duration".to_owned() }).expect("finish");
    (folder, path)
}

/// The finished sample of a recorder that looked who keeps what is live.
pub(crate) fn finished_with_holders() -> (tempfile::TempDir, PathBuf) {
    let (folder, path) = folder();
    let mut writer = write(&path);
    writer.holders(&holders()).expect("holders");
    writer.finish(&End { duration_ns: 10 * SECOND_NS, reason: "duration".to_owned() }).expect("finish");
    (folder, path)
}
