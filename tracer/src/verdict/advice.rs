//! Advice on a verdict: one thing to do, as specific as the category allows.

use std::fmt;

use super::VerdictKind;
use crate::process::Pid;
use crate::recording::Recording;

/// Advice for a category, by what was found of it.
struct Advice {
    category: &'static str,
    /// Kind of the category that it is for; empty: for all.
    kind: &'static str,
    /// Advice for memory that grows and stays.
    leak: &'static str,
    /// Collections free it, or might.
    pending: &'static str,
    /// Advice for memory that is held, and does not grow.
    held: &'static str,
}

/// The first that fits is taken.
const TABLE: &[Advice] = &[
    Advice {
        category: "zlib",
        kind: "deflate",
        leak: "call end() on each Deflater, and close() the streams that wrap one; reuse one per thread by reset()",
        pending: "call end() on each Deflater, and close() the streams that wrap one: the heap sees a few bytes of what \
                  each holds, so collections come too late; a smaller heap would only hide it",
        held: "nothing, if so many Deflaters are in use; each holds some 256 KiB, a lower memLevel less",
    },
    Advice {
        category: "zlib",
        kind: "",
        leak: "close() the GZIPInputStream, InflaterInputStream or ZipFile (try-with-resources), or end() the Inflater",
        pending: "close() the stream (try-with-resources) or end() the Inflater: the heap sees a few bytes of what each \
                  holds, so collections come too late; a smaller heap would only hide it",
        held: "nothing, if so many streams are open at once; each inflater holds some 40 KiB",
    },
    Advice {
        category: "direct-buffer",
        kind: "nio-temporary",
        leak: "these are caches of the threads that do I/O with heap buffers or files: bound the number of threads, or cap what \
               each may keep by -Djdk.nio.maxCachedBufferSize=262144",
        pending: "bound the number of threads that do I/O with heap buffers, or set -Djdk.nio.maxCachedBufferSize=262144",
        held: "each thread that does I/O with heap buffers keeps one: use direct buffers, fewer threads, or \
               -Djdk.nio.maxCachedBufferSize=262144",
    },
    Advice {
        category: "direct-buffer",
        kind: "netty",
        leak: "release() each ByteBuf; -Dio.netty.leakDetection.level=paranoid tells where one was last touched",
        pending: "release() each ByteBuf instead of dropping it; -Dio.netty.leakDetection.level=paranoid names the place",
        held: "Netty's arenas: fewer or smaller by -Dio.netty.allocator.numDirectArenas and maxOrder",
    },
    Advice {
        category: "direct-buffer",
        kind: "ffm-arena",
        leak: "close() the Arena (try-with-resources): memory of a shared, confined or global arena lives as long as it",
        pending: "use Arena.ofConfined() with try-with-resources instead of Arena.ofAuto(), whose memory waits for a GC",
        held: "nothing, if the arena is meant to live so long",
    },
    Advice {
        category: "direct-buffer",
        kind: "unsafe",
        leak: "pair each Unsafe.allocateMemory with freeMemory; see which object of the owner holds the address",
        pending: "free it when it is done with, instead of leaving it to a Cleaner",
        held: "nothing, if the owner is meant to keep it",
    },
    Advice {
        category: "direct-buffer",
        kind: "",
        leak: "find who keeps the ByteBuffers reachable (heap dump: java.nio.DirectByteBuffer) and bound it; \
               -XX:MaxDirectMemorySize makes it fail early",
        pending: "reuse the ByteBuffers, or free them without the collector (a pool, an Arena): the heap sees some 100 \
                  bytes of each; -XX:MaxDirectMemorySize caps what can pile up",
        held: "nothing, if the pool is meant to be as large; -XX:MaxDirectMemorySize caps it",
    },
    Advice {
        category: "thread-stack",
        kind: "",
        leak: "end what the threads serve (close the connection, the session), shut the executor down (shutdown(), close()) \
               or share one; threads end only when their run() returns",
        pending: "shut the executor down (shutdown(), close()) or share one",
        held: "nothing; glibc keeps up to 40 MiB of stacks of threads that ended; -Xss makes each smaller",
    },
    Advice {
        category: "thread",
        kind: "",
        leak: "threads are started and do not end: see thread-stack",
        pending: "shut the executor down (shutdown(), close()) or share one",
        held: "nothing; it is a part of each thread",
    },
    Advice {
        category: "class",
        kind: "",
        leak: "find what keeps class loaders reachable (jcmd PID VM.classloaders; a ThreadLocal, a registered driver, a \
               static map), and stop making classes per call; -XX:MaxMetaspaceSize makes it fail early",
        pending: "classes are dropped and wait for a collection that unloads them: make fewer loaders and proxies, or \
                  cache them",
        held: "nothing; the application has loaded its classes",
    },
    Advice {
        category: "code-cache",
        kind: "",
        leak: "stop generating code per call (lambdas, proxies, scripts, expression compilers): cache what is generated; \
               jcmd PID Compiler.codecache shows the room left, -XX:ReservedCodeCacheSize sets it",
        pending: "generated code waits for its classes to be unloaded: cache what is generated",
        held: "nothing; the application is warm",
    },
    Advice {
        category: "jni",
        kind: "",
        leak: "the native code of the owner makes references and does not delete them: DeleteGlobalRef for each \
               NewGlobalRef (-Xcheck:jni warns of local ones)",
        pending: "delete the references when the owner closes, not in a Cleaner",
        held: "nothing; the number of references no longer grows",
    },
    Advice {
        category: "mapped-file",
        kind: "",
        leak: "bound who keeps the MappedByteBuffers; map with an Arena (22+) and close() it to unmap at once",
        pending: "mapped buffers are unmapped by a collection alone: map larger pieces once, or map with an Arena (22+) and \
                  close() it",
        held: "nothing; mapped pages can be dropped by the kernel",
    },
    Advice {
        category: "libraries",
        kind: "",
        leak: "a library stays until the class loader that loaded it is collected: load it once, from a loader that stays \
               (a shared class, the server's own folder), and let go of old loaders",
        pending: "a library is unloaded when the class loader that loaded it is collected: load it once, from a loader that \
                  stays",
        held: "nothing; libraries are loaded once",
    },
    Advice {
        category: "jvmti",
        kind: "",
        leak: "run without the agent (-javaagent, -agentpath) to see whether it goes, then update it",
        pending: "run without the agent to see whether it goes",
        held: "nothing; it is what the agent costs",
    },
    Advice {
        category: "compiler",
        kind: "",
        leak: "see which method it compiles for so long (jcmd PID Compiler.queue, -XX:+PrintCompilation) and exclude it \
               (-XX:CompileCommand=exclude,...)",
        pending: "nothing; the compiler frees it",
        held: "nothing; fewer compiler threads hold less (-XX:CICompilerCount)",
    },
    Advice {
        category: "java-heap",
        kind: "",
        leak: "nothing here: it is the Java heap, bounded by -Xmx; a heap dump says what fills it",
        pending: "nothing here: it is the Java heap, bounded by -Xmx",
        held: "nothing here: it is the Java heap; -Xmx bounds it",
    },
    Advice {
        category: "gc",
        kind: "",
        leak: "nothing here: it grows with the heap and its use",
        pending: "nothing here: it grows with the heap and its use",
        held: "nothing; it follows the heap: a smaller -Xmx or -XX:+UseSerialGC needs less",
    },
    Advice {
        category: "allocator",
        kind: "",
        leak: "see the sites above",
        pending: "see the sites above",
        held: "give it back: MALLOC_ARENA_MAX=2, jcmd PID System.trim_native_heap, -XX:TrimNativeHeapInterval=5000 (21; \
               17 with -XX:+UnlockExperimentalVMOptions), or jemalloc",
    },
];

/// The target in a command: its pid, or `PID` where that process has ended, so no command is told that fails.
#[derive(Clone, Copy, Debug)]
pub(super) struct CommandPid(Option<Pid>);

impl CommandPid {
    pub(super) fn of(recording: &Recording) -> CommandPid {
        CommandPid((!recording.state.has_exited()).then_some(recording.target.pid))
    }

    #[cfg(test)]
    pub(super) fn of_running(pid: Pid) -> CommandPid {
        CommandPid(Some(pid))
    }
}

impl fmt::Display for CommandPid {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(pid) => pid.fmt(formatter),
            None => formatter.write_str("PID"),
        }
    }
}

/// Advice about `kind` of a row, which may be of a kind itself. `pid` is the target's.
pub(super) fn advice(kind: VerdictKind, category: &str, of_kind: Option<&str>, pid: CommandPid) -> String {
    let category = match category {
        // Metadata, names and tables all live as long as the classes.
        "metaspace" | "symbol" => "class",
        other => other,
    };
    let fits = |advice: &&Advice| {
        advice.category == category && (advice.kind.is_empty() || of_kind == Some(advice.kind))
    };
    let found = TABLE.iter().find(fits);
    let library = category.strip_prefix("native:");
    let text = match (kind, found, library) {
        (VerdictKind::TooShort, ..) => {
            "record longer, over several collections if Java objects are involved: -d 5m".to_owned()
        }
        (VerdictKind::Steady | VerdictKind::Transient, ..) => "nothing".to_owned(),
        (VerdictKind::Retention, ..) => {
            TABLE.iter().find(|it| it.category == "allocator").map_or("", |it| it.held).to_owned()
        }
        (VerdictKind::Leak, Some(advice), _) => advice.leak.to_owned(),
        (VerdictKind::GcPending, Some(advice), _) => advice.pending.to_owned(),
        (VerdictKind::Pool, Some(advice), _) => advice.held.to_owned(),
        (VerdictKind::Pool, None, _) => "nothing, if it is meant to be kept".to_owned(),
        (VerdictKind::GcPending, None, Some(library)) => {
            format!(
                "close the objects of {library} when they are done with, instead of leaving them to the collector"
            )
        }
        (VerdictKind::Leak, None, Some(library)) => {
            format!(
                "see what the owner creates through {library} and does not close, and where the library frees it"
            )
        }
        (VerdictKind::GcPending, None, None) => {
            "free it where it is done with, instead of leaving it to the collector".to_owned()
        }
        (VerdictKind::Leak, None, None) => {
            "see the owner of its first sites: what it asks for is not given back".to_owned()
        }
    };
    text.replace("PID", &pid.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row_can_be_reached_and_says_something() {
        for (at, advice) in TABLE.iter().enumerate() {
            let first = TABLE.iter().position(|other| {
                other.category == advice.category && (other.kind.is_empty() || other.kind == advice.kind)
            });
            assert_eq!(first, Some(at), "{} {} is hidden", advice.category, advice.kind);
            assert!([advice.leak, advice.pending, advice.held].iter().all(|text| text.len() > 10));
        }
    }

    #[test]
    fn advice_is_that_of_the_kind_of_memory() {
        assert!(
            advice(VerdictKind::Leak, "zlib", Some("deflate"), CommandPid(Some(Pid(7)))).contains("Deflater")
        );
        assert!(
            advice(VerdictKind::GcPending, "zlib", Some("inflate"), CommandPid(Some(Pid(7))))
                .contains("Inflater")
        );
        assert!(
            advice(VerdictKind::Leak, "metaspace", None, CommandPid(Some(Pid(7))))
                .contains("jcmd 7 VM.classloaders")
        );
        assert!(
            advice(VerdictKind::Leak, "metaspace", None, CommandPid(None))
                .contains("jcmd PID VM.classloaders")
        );
        assert!(
            advice(VerdictKind::Leak, "native:libacme.so", None, CommandPid(Some(Pid(7))))
                .contains("libacme.so")
        );
        assert_eq!(advice(VerdictKind::Steady, "zlib", None, CommandPid(Some(Pid(7)))), "nothing");
        assert!(
            advice(VerdictKind::Retention, "allocator", None, CommandPid(Some(Pid(7))))
                .contains("MALLOC_ARENA_MAX")
        );
    }
}
