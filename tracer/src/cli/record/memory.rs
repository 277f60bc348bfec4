//! The process's memory in the course of a recording: looked at in a thread of its own, seldom enough to
//! cost the target next to nothing.

use std::{
    collections::BTreeMap,
    sync::mpsc::{self, Receiver, RecvTimeoutError, SyncSender},
    thread,
    time::{Duration, Instant},
};

use crate::{
    census::CodeUse,
    hotspot::{Hotspot, Symbols},
    process::{Module, jvm, mapping, memory::LiveMemory, module, pagemap::PageMap},
    recording::{
        CodeCache, CodeHeap, CompiledMethod, Heap, HeapArena, MappedMemory, Memory, MemoryPart, ThreadStack,
    },
    session::mappings::Mappings,
    vmmap::{self, Limit, Map, Owner, Usage},
};

/// The shortest time between two looks.
const INTERVAL_NS: u64 = 1_000_000_000;
/// A look may take this share of the time until the next: reading a mapping's pages holds up calls of
/// the target that change its mappings.
const COST_SHARE: u64 = 100;
/// Looks of one session: with each doubling of it, they become half as frequent.
const LOOKS: u64 = 256;
/// How long the last look is waited for.
const PATIENCE: Duration = Duration::from_secs(10);
/// Arenas that are kept.
const MAX_ARENAS: usize = 512;

/// What one look told.
pub(super) struct Look {
    time_ns: u64,
    took_ns: u64,
    walked_heap: bool,
    map: Map,
    limit: Option<Limit>,
    /// Walked when the heap is.
    code: Option<CodeCache>,
}

/// Asks for looks, and says when the next is due.
pub(super) struct MemoryWatch {
    requests: SyncSender<Request>,
    looks: Receiver<Option<Look>>,
    under_way: bool,
    started_ns: Option<u64>,
    due_ns: u64,
    /// Going through malloc's heap costs more: when the next time is.
    heap_due_ns: u64,
}

struct Request {
    time_ns: u64,
    walks_heap: bool,
}

impl MemoryWatch {
    /// For the memory of process `pid`.
    pub(super) fn start(pid: u32) -> Self {
        let (requests, asked) = mpsc::sync_channel::<Request>(4);
        let (answer, looks) = mpsc::channel();
        thread::spawn(move || {
            let mut observer = Observer::new(pid);
            while let Ok(request) = asked.recv() {
                if answer.send(observer.look(&request)).is_err() {
                    return;
                }
            }
        });
        Self { requests, looks, under_way: false, started_ns: None, due_ns: 0, heap_due_ns: 0 }
    }

    /// Asks for a look if one is due, and gives the one that is there by now.
    pub(super) fn poll(&mut self, now_ns: u64) -> Option<Look> {
        self.started_ns.get_or_insert(now_ns);
        let look = self.looks.try_recv().ok();
        if look.is_some() {
            self.under_way = false;
        }
        let look = look.flatten();
        if let Some(look) = &look {
            self.settle(look, now_ns);
        }
        if !self.under_way && now_ns >= self.due_ns {
            self.ask(now_ns, now_ns >= self.heap_due_ns);
        }
        look
    }

    /// Asks for the last look, for [`Self::last`].
    pub(super) fn ask_last(&mut self, now_ns: u64) {
        self.ask(now_ns, true);
    }

    /// The look that was asked for at `now_ns`, or else one that was under way. None: the process is
    /// gone, or too large to be read in time.
    pub(super) fn last(&mut self, now_ns: u64) -> Option<Look> {
        if !self.under_way {
            return None;
        }
        let deadline = Instant::now() + PATIENCE;
        let mut last = None;
        loop {
            match self.looks.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
                Ok(Some(look)) if look.time_ns == now_ns => return Some(look),
                Ok(Some(look)) => last = Some(look),
                // That one failed: so will all later ones.
                Ok(None) | Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => return last,
            }
        }
    }

    fn ask(&mut self, time_ns: u64, walks_heap: bool) {
        self.under_way = self.requests.try_send(Request { time_ns, walks_heap }).is_ok();
    }

    fn settle(&mut self, look: &Look, now_ns: u64) {
        let spread = now_ns.saturating_sub(self.started_ns.unwrap_or(now_ns)) / LOOKS;
        let interval = INTERVAL_NS.max(spread);
        let next = |took_ns: u64| now_ns.saturating_add(interval.max(took_ns.saturating_mul(COST_SHARE)));
        if look.walked_heap {
            self.heap_due_ns = next(look.took_ns);
            // Without the heap it costs less: how much will be seen.
            self.due_ns = now_ns.saturating_add(interval.max(look.took_ns.saturating_mul(COST_SHARE / 4)));
        } else {
            self.due_ns = next(look.took_ns);
        }
    }
}

/// CPU time of the calling thread. What a look costs the target is the work it does, not how long it waits for a CPU.
fn cpu_ns() -> u64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    let part = |part: i64| u64::try_from(part).unwrap_or_default();
    part(time.tv_sec).saturating_mul(1_000_000_000).saturating_add(part(time.tv_nsec))
}

/// Looks at one process.
struct Observer {
    pid: u32,
    /// Of the executable mappings: where each is, and of which file.
    code: Vec<(u64, u64)>,
    modules: Vec<Module>,
    symbols: Option<Symbols>,
    jvm: Option<Hotspot>,
}

impl Observer {
    fn new(pid: u32) -> Self {
        Self { pid, code: Vec::new(), modules: Vec::new(), symbols: None, jvm: None }
    }

    fn look(&mut self, request: &Request) -> Option<Look> {
        let begun_ns = cpu_ns();
        self.follow();
        let memory = LiveMemory::open(self.pid).ok()?;
        let residency = PageMap::open(self.pid).ok()?;
        let source = vmmap::Source {
            pid: self.pid,
            modules: &self.modules,
            memory: &memory,
            residency: &residency,
            jvm: self.jvm.as_ref(),
            walks_heap: request.walks_heap,
        };
        let map = vmmap::read(&source).map_err(|error| tracing::debug!(%error, "no map")).ok()?;
        let code = self.jvm.as_mut().filter(|_| request.walks_heap).map(code_cache);
        let took_ns = cpu_ns().saturating_sub(begun_ns);
        tracing::debug!(
            took_ms = took_ns / 1_000_000,
            walked_heap = request.walks_heap,
            "looked at the memory"
        );
        let limit = vmmap::limit(self.pid);
        Some(Look { time_ns: request.time_ns, took_ns, walked_heap: request.walks_heap, map, limit, code })
    }

    /// Learns of new libraries, and of the JVM once it describes itself.
    fn follow(&mut self) {
        let mappings = mapping::read(self.pid).unwrap_or_default();
        let code = mappings.iter().filter(|mapping| mapping.executable && mapping.is_file());
        let code: Vec<(u64, u64)> = code.map(|mapping| (mapping.start, mapping.inode)).collect();
        if code != self.code {
            self.modules = module::modules(self.pid, &mappings);
            self.code = code;
        }
        if self.jvm.is_none()
            && let Some(info) = jvm::find(self.pid, &self.modules)
        {
            if self.symbols.is_none() {
                self.symbols = Symbols::read(&info.libjvm.file, info.libjvm.load_bias).ok();
            }
            self.jvm = self
                .symbols
                .clone()
                .zip(LiveMemory::open(self.pid).ok())
                .and_then(|(symbols, memory)| Hotspot::with_symbols(symbols, memory).ok());
        }
    }
}

impl Look {
    /// Whose the memory at `address` is.
    pub(super) fn owner_at(&self, address: u64) -> Option<&'static str> {
        self.map.owner_at(address).map(Owner::id)
    }

    /// Where the Java heap is.
    pub(super) fn java_heap(&self) -> Option<std::ops::Range<u64>> {
        self.map.java_heap()
    }

    /// When it was asked for, `CLOCK_MONOTONIC`.
    pub(super) fn time_ns(&self) -> u64 {
        self.time_ns
    }

    /// The code cache, if it was walked.
    pub(super) fn take_code(&mut self) -> Option<CodeCache> {
        self.code.take()
    }

    /// As recordings keep it. `mappings`: who mapped what nobody owns.
    pub(super) fn memory(&self, mappings: &Mappings) -> Memory {
        let total = self.map.total();
        let of = |owner: Owner| self.map.parts.iter().filter(move |part| part.owner == owner);
        let mut mapped: BTreeMap<u64, Usage> = BTreeMap::new();
        for part in of(Owner::Unexplained) {
            for (stack, bytes) in mappings.mapped_by(part.range.start, part.range.end) {
                mapped.entry(stack).or_default().add(&share(&part.usage, bytes));
            }
        }
        Memory {
            time_ns: Some(self.time_ns),
            rss_bytes: self.map.rss_bytes,
            pss_bytes: Some(total.pss_bytes),
            swap_bytes: Some(total.swap_bytes),
            limit_bytes: self.limit.as_ref().map(|limit| limit.bytes),
            limit_used_bytes: self.limit.as_ref().and_then(|limit| limit.used_bytes),
            unexplained_bytes: Some(of(Owner::Unexplained).map(|part| part.usage.resident_bytes).sum()),
            parts: self.map.by_owner().into_iter().map(part).collect(),
            mapped: mapped
                .into_iter()
                .map(|(stack, usage)| MappedMemory {
                    stack,
                    reserved_bytes: usage.reserved_bytes,
                    committed_bytes: usage.committed_bytes,
                    resident_bytes: usage.resident_bytes,
                })
                .collect(),
            heap: self.map.heap.as_ref().map(heap),
        }
    }

    /// The stacks of threads, by address.
    pub(super) fn thread_stacks(&self) -> Vec<ThreadStack> {
        let stack = |stack: &vmmap::StackUse| ThreadStack {
            tid: stack.tid,
            reserved_bytes: stack.usage.reserved_bytes,
            resident_bytes: stack.usage.resident_bytes,
        };
        self.map.stacks.iter().map(stack).collect()
    }
}

/// Every heap and method of the code cache.
fn code_cache(hotspot: &mut Hotspot) -> CodeCache {
    let code = CodeUse::read(hotspot);
    let heap = |heap: crate::hotspot::books::CodeHeap| CodeHeap {
        name: heap.name,
        reserved_bytes: Some(heap.reserved_bytes),
        committed_bytes: Some(heap.committed_bytes),
        used_bytes: Some(heap.used_bytes),
    };
    let method = |method: crate::census::document::CodeMethod| CompiledMethod {
        method: method.method,
        tier: method.tier,
        bytes: method.bytes,
    };
    CodeCache {
        heaps: code.heaps.into_iter().map(heap).collect(),
        methods: code.methods.into_iter().map(method).collect(),
    }
}

/// What `bytes` of a part have of it.
fn share(usage: &Usage, bytes: u64) -> Usage {
    let of = |whole: u64| {
        let share = u128::from(whole) * u128::from(bytes) / u128::from(usage.reserved_bytes.max(1));
        u64::try_from(share).unwrap_or(whole)
    };
    Usage {
        reserved_bytes: bytes,
        committed_bytes: of(usage.committed_bytes),
        resident_bytes: of(usage.resident_bytes),
        pss_bytes: of(usage.pss_bytes),
        swap_bytes: of(usage.swap_bytes),
    }
}

fn part((owner, usage): (Owner, Usage)) -> MemoryPart {
    MemoryPart {
        id: owner.id().to_owned(),
        reserved_bytes: Some(usage.reserved_bytes),
        committed_bytes: Some(usage.committed_bytes),
        resident_bytes: Some(usage.resident_bytes),
        pss_bytes: Some(usage.pss_bytes),
        swap_bytes: Some(usage.swap_bytes),
    }
}

fn heap(heap: &crate::glibc::Malloc) -> Heap {
    let arena = |arena: &crate::glibc::Arena| HeapArena {
        is_main: arena.is_main,
        thread_count: arena.attached_threads,
        resident_bytes: arena.resident_bytes,
        in_use_bytes: arena.holdings.in_use.bytes,
        in_use_count: arena.holdings.in_use.count,
        free_bytes: arena.holdings.free_bytes(),
        top_bytes: arena.holdings.top_bytes,
    };
    Heap {
        arenas: heap.arenas.iter().take(MAX_ARENAS).map(arena).collect(),
        mapped_bytes: heap.mapped.amount().bytes,
        mapped_count: heap.mapped.amount().count,
        mapped_resident_bytes: heap.mapped.resident_bytes.unwrap_or(0),
    }
}
