//! The tables. `docs/file-format.md` says what each column means.

/// Creates everything in an empty database.
///
/// Stack ids are signed because SQLite's integers are: the same 64 bits. All times are
/// CLOCK_MONOTONIC nanoseconds of the traced host.
pub(super) const TABLES: &str = "
CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT, WITHOUT ROWID;
CREATE TABLE module (id INTEGER PRIMARY KEY, path TEXT NOT NULL, build_id TEXT) STRICT;
CREATE TABLE frame (id INTEGER PRIMARY KEY, function TEXT NOT NULL, kind TEXT NOT NULL,
    module INTEGER REFERENCES module, file TEXT, line INTEGER, \"offset\" INTEGER, tier TEXT,
    unknown TEXT) STRICT;
CREATE TABLE stack (id INTEGER PRIMARY KEY, kernel_id INTEGER NOT NULL UNIQUE, complete INTEGER,
    stop TEXT, frames TEXT) STRICT;
CREATE TABLE source (id INTEGER PRIMARY KEY, source TEXT NOT NULL, kind TEXT NOT NULL) STRICT;
CREATE TABLE total (stack INTEGER NOT NULL REFERENCES stack, source INTEGER NOT NULL REFERENCES source,
    allocated_bytes INTEGER NOT NULL, allocated_count INTEGER NOT NULL,
    freed_bytes INTEGER NOT NULL, freed_count INTEGER NOT NULL, changed_ns INTEGER NOT NULL,
    collected_bytes INTEGER NOT NULL, allocated_bytes_variance INTEGER NOT NULL,
    allocated_count_variance INTEGER NOT NULL, freed_bytes_variance INTEGER NOT NULL,
    freed_count_variance INTEGER NOT NULL,
    PRIMARY KEY (stack, source)) STRICT, WITHOUT ROWID;
CREATE TABLE sample (id INTEGER PRIMARY KEY, time_ns INTEGER NOT NULL, totals TEXT NOT NULL) STRICT;
CREATE TABLE thread (id INTEGER PRIMARY KEY, tid INTEGER NOT NULL, name TEXT, started_ns INTEGER,
    ended_ns INTEGER, creator INTEGER REFERENCES stack) STRICT;
CREATE TABLE live_thread (stack INTEGER PRIMARY KEY REFERENCES stack, threads TEXT NOT NULL) STRICT;
CREATE TABLE live_resident (stack INTEGER PRIMARY KEY REFERENCES stack, resident_bytes INTEGER NOT NULL) STRICT;
CREATE TABLE call (time_ns INTEGER NOT NULL, tid INTEGER NOT NULL, freed INTEGER NOT NULL,
    address INTEGER NOT NULL, size_bytes INTEGER NOT NULL,
    stack INTEGER NOT NULL REFERENCES stack, weight INTEGER NOT NULL) STRICT;
CREATE TABLE gc (begin_ns INTEGER PRIMARY KEY, end_ns INTEGER, \"full\" INTEGER NOT NULL) STRICT;
CREATE TABLE survivor (stack INTEGER PRIMARY KEY REFERENCES stack, births TEXT NOT NULL) STRICT;
CREATE TABLE live_size (stack INTEGER PRIMARY KEY REFERENCES stack, sizes TEXT NOT NULL) STRICT;
CREATE TABLE lost (reason TEXT PRIMARY KEY, count INTEGER NOT NULL) STRICT, WITHOUT ROWID;
CREATE TABLE note (id INTEGER PRIMARY KEY, text TEXT NOT NULL UNIQUE) STRICT;
CREATE TABLE memory (time_ns INTEGER PRIMARY KEY, rss_bytes INTEGER, limit_bytes INTEGER,
    unexplained_bytes INTEGER, pss_bytes INTEGER, swap_bytes INTEGER, limit_used_bytes INTEGER) STRICT;
CREATE TABLE memory_part (id TEXT PRIMARY KEY, reserved_bytes INTEGER, committed_bytes INTEGER,
    resident_bytes INTEGER, pss_bytes INTEGER, swap_bytes INTEGER) STRICT, WITHOUT ROWID;
CREATE TABLE memory_mapped (stack INTEGER PRIMARY KEY REFERENCES stack, reserved_bytes INTEGER NOT NULL,
    committed_bytes INTEGER NOT NULL, resident_bytes INTEGER NOT NULL) STRICT;
CREATE TABLE memory_series (time_ns INTEGER NOT NULL, id TEXT NOT NULL, committed_bytes INTEGER NOT NULL,
    resident_bytes INTEGER NOT NULL, PRIMARY KEY (time_ns, id)) STRICT, WITHOUT ROWID;
CREATE TABLE limit_state (id TEXT PRIMARY KEY, json TEXT NOT NULL) STRICT, WITHOUT ROWID;
CREATE TABLE limit_series (time_ns INTEGER NOT NULL, id TEXT NOT NULL, used INTEGER, needed INTEGER, most INTEGER,
    hits INTEGER, PRIMARY KEY (time_ns, id)) STRICT, WITHOUT ROWID;
CREATE TABLE thread_stack (id INTEGER PRIMARY KEY, tid INTEGER, reserved_bytes INTEGER NOT NULL,
    resident_bytes INTEGER NOT NULL) STRICT;
CREATE TABLE touched (stack INTEGER NOT NULL REFERENCES stack, owner TEXT NOT NULL,
    sample_count INTEGER NOT NULL, fault_count INTEGER NOT NULL, variance INTEGER NOT NULL,
    PRIMARY KEY (stack, owner)) STRICT, WITHOUT ROWID;
CREATE TABLE code_heap (name TEXT PRIMARY KEY, reserved_bytes INTEGER, committed_bytes INTEGER,
    used_bytes INTEGER) STRICT, WITHOUT ROWID;
CREATE TABLE code_series (time_ns INTEGER PRIMARY KEY, loaded_bytes INTEGER NOT NULL,
    loaded_count INTEGER NOT NULL, unloaded_bytes INTEGER NOT NULL, unloaded_count INTEGER NOT NULL) STRICT;
CREATE TABLE compiled_method (id INTEGER PRIMARY KEY, method TEXT NOT NULL, tier TEXT,
    bytes INTEGER NOT NULL) STRICT;
CREATE TABLE holder (id INTEGER PRIMARY KEY, state TEXT NOT NULL, class TEXT, field TEXT, path TEXT NOT NULL,
    block_count INTEGER NOT NULL, bytes INTEGER NOT NULL, exact INTEGER NOT NULL) STRICT;
CREATE TABLE kept (stack INTEGER NOT NULL REFERENCES stack, holder INTEGER NOT NULL REFERENCES holder,
    live_bytes INTEGER NOT NULL, live_count INTEGER NOT NULL, PRIMARY KEY (stack, holder)) STRICT, WITHOUT ROWID;
CREATE TABLE census (moment TEXT PRIMARY KEY, time_ns INTEGER NOT NULL, json TEXT, unknown TEXT) STRICT;
";
