//! The stories, and what may be found in each besides its own truth.

/// A mode of `Stories.java`.
pub(crate) struct Story {
    pub(crate) mode: &'static str,
    pub(crate) flags: &'static [&'static str],
    /// The first JDK that has what it needs.
    pub(crate) from_jdk: u32,
    /// Words that the evidence must have.
    pub(crate) evidence: &'static str,
    /// Categories that grow with it, truly.
    pub(crate) also: &'static [&'static str],
}

const PLAIN: Story = Story { mode: "", flags: &[], from_jdk: 8, evidence: "", also: &[] };

/// Categories of memory that class loaders hold beside what is called Class.
const OF_CLASSES: &[&str] = &["class", "metaspace", "symbol", "code-cache"];

pub(crate) const STORIES: &[Story] = &[
    Story { mode: "inflaters-kept", evidence: "survived", ..PLAIN },
    Story { mode: "deflater-per-connection", evidence: "survived", ..PLAIN },
    Story { mode: "inflaters-dropped", evidence: "freed", ..PLAIN },
    Story { mode: "inflaters-dropped-no-gc", evidence: "no collection ran", ..PLAIN },
    Story { mode: "deflaters-dropped", evidence: "freed", ..PLAIN },
    Story { mode: "direct-kept", evidence: "survived", ..PLAIN },
    Story { mode: "nio-temporary", ..PLAIN },
    Story { mode: "executor-per-request", also: &["thread"], ..PLAIN },
    Story { mode: "class-loaders-kept", also: OF_CLASSES, ..PLAIN },
    Story { mode: "c2-burst", ..PLAIN },
    Story { mode: "generated-methods", also: OF_CLASSES, ..PLAIN },
    Story { mode: "jni-globals", ..PLAIN },
    Story { mode: "jni-malloc", ..PLAIN },
    Story { mode: "mapped-files", ..PLAIN },
    Story { mode: "ffm-arena", flags: &["--enable-preview"], from_jdk: 21, ..PLAIN },
    Story { mode: "retention", ..PLAIN },
    Story { mode: "contexts-dropped", evidence: "freed", ..PLAIN },
    Story { mode: "file-rotation", evidence: "freed", ..PLAIN },
    Story { mode: "slow-leak", ..PLAIN },
    Story { mode: "lambdas-per-call", also: OF_CLASSES, ..PLAIN },
    Story { mode: "own-cleaner", evidence: "right after collections", ..PLAIN },
    // Stories that must not be called a leak.
    Story { mode: "cache-at-its-limit", ..PLAIN },
    Story { mode: "rising-load", ..PLAIN },
    Story { mode: "classes-loaded", ..PLAIN },
    Story { mode: "heap", flags: &["-Xms16m"], ..PLAIN },
    Story { mode: "heap-touched", flags: &["-Xms256m", "-XX:+AlwaysPreTouch"], ..PLAIN },
    Story { mode: "warm-up", ..PLAIN },
    Story { mode: "direct-pool", ..PLAIN },
    Story { mode: "remembered-sets", flags: &["-XX:G1HeapRegionSize=1m"], ..PLAIN },
    Story { mode: "direct-dropped-before-gc", evidence: "no collection ran", ..PLAIN },
    Story { mode: "threads-that-end", ..PLAIN },
    Story { mode: "open-jars", ..PLAIN },
];
