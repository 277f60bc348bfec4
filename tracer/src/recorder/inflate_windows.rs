//! The windows of live inflaters: memory that no watched call allocates.

use std::{collections::HashMap, io};

use tracer_common::{
    counter::Counter,
    stack::StackId,
    table::{Allocation, key},
    zlib,
};

use crate::process::Pid;
use crate::{
    ingest::tables::Tables,
    process::memory::{LiveMemory, ProcessMemory},
};

/// Growth of live inflaters: an inflater gets its window when it is first used, without a call
/// that is watched. The kernel side adds it when a stream ends.
pub(super) struct InflateWindows {
    pid: Pid,
    streams: HashMap<u64, Stream>,
    /// Bytes of their windows by stack, as they were at the last look.
    by_stack: HashMap<StackId, u64>,
    /// Streams that had begun or ended by then.
    changes: u64,
}

/// A live inflater.
struct Stream {
    /// Time of birth: with its address, a stream is this one.
    born_ns: u64,
    window_bytes: u64,
    /// Time at which the stream is looked at again. The longer it was not used, the less often.
    due_ns: u64,
    /// Was the stream's memory read, whatever was there?
    looked_at: bool,
    seen: bool,
}

/// Streams without a window that are looked at in one go.
const MAX_LOOKS: usize = 10_000;

impl InflateWindows {
    /// Watches process `pid`.
    pub(super) fn new(pid: Pid) -> Self {
        Self { pid, streams: HashMap::new(), by_stack: HashMap::new(), changes: 0 }
    }

    /// The bytes of the windows of a live stream.
    pub(super) fn of(&self, address: u64, allocation: &Allocation) -> u64 {
        let stream = self.streams.get(&address).filter(|stream| stream.born_ns == allocation.time_ns);
        stream.map_or(0, |stream| stream.window_bytes)
    }

    /// Live streams that nobody ever looked at, in a sentence: the process was gone too soon.
    pub(super) fn unseen(&self) -> Option<String> {
        let count = self.streams.values().filter(|stream| !stream.looked_at).count();
        (count > 0).then(|| {
            format!(
                "light: the process ended before {count} of its live inflate streams were looked at: they are counted \
                 without a window, which has 32 KiB for most"
            )
        })
    }

    /// Looks which live streams have their window by now, all of them at the end; gives the bytes by stack. The table is
    /// read only if a stream began, ended or is due since the last time: that takes milliseconds.
    ///
    /// # Errors
    /// The table cannot be read.
    pub(super) fn look(
        &mut self,
        tables: &Tables,
        now_ns: u64,
        is_end: bool,
    ) -> io::Result<&HashMap<StackId, u64>> {
        // Before the table: a change that comes meanwhile is one of the next time.
        let changes = tables.counter(Counter::InflateChanges)?;
        let is_due = |stream: &Stream| stream.window_bytes == 0 && stream.due_ns <= now_ns;
        if is_end || changes != self.changes || self.streams.values().any(is_due) {
            self.by_stack = self.look_at_all(tables, now_ns, is_end)?;
            self.changes = changes;
        }
        Ok(&self.by_stack)
    }

    fn look_at_all(
        &mut self,
        tables: &Tables,
        now_ns: u64,
        is_end: bool,
    ) -> io::Result<HashMap<StackId, u64>> {
        let memory = LiveMemory::open(self.pid).ok();
        let mut looks = if is_end { usize::MAX } else { MAX_LOOKS };
        let mut by_stack: HashMap<StackId, u64> = HashMap::new();
        tables.for_each_live(|address, stack, allocation| {
            if address & key::INFLATE == 0 {
                return;
            }
            let born_ns = allocation.time_ns;
            let fresh = || Stream { born_ns, window_bytes: 0, due_ns: 0, looked_at: false, seen: true };
            let stream = self.streams.entry(address).or_insert_with(fresh);
            if stream.born_ns != born_ns {
                *stream = fresh();
            }
            stream.seen = true;
            if stream.window_bytes == 0
                && looks > 0
                && (is_end || stream.due_ns <= now_ns)
                && let Some(memory) = &memory
            {
                looks -= 1;
                let address = address & key::ADDRESS;
                stream.looked_at |= memory.read_u64(address).is_ok();
                stream.window_bytes = zlib::window_bytes(address, |address| memory.read_u64(address).ok());
                stream.due_ns = now_ns.saturating_add(now_ns.saturating_sub(born_ns));
            }
            if stream.window_bytes > 0 {
                *by_stack.entry(stack).or_default() += stream.window_bytes;
            }
        })?;
        self.streams.retain(|_, stream| std::mem::take(&mut stream.seen));
        Ok(by_stack)
    }
}
