//! Samples of the process's memory in the course of a recording: taken in a thread of its own, seldom enough to cost
//! the target next to nothing. Between them the pauses of a concurrent collector are counted, which costs one read.

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        mpsc::{self, Receiver, RecvTimeoutError, SyncSender},
    },
    time::{Duration, Instant},
};

use super::{memory_snapshot::MemorySnapshot, monotonic_ns};
use crate::{
    census::CodeUse,
    hotspot::{self, Hotspot, Symbols, stats::ConcurrentCycles},
    limits,
    process::{
        Module, Pid, allocator, background,
        clock::thread_cpu_ns,
        jvm, mapping,
        memory::LiveMemory,
        module,
        pagemap::PageMap,
        privilege::{self, READING},
        read_budget::ReadBudget,
        target::Status,
    },
    recording::{CodeCache, CodeHeap, CompiledMethod},
    vmmap,
};

/// The shortest time between two samples.
const INTERVAL_NS: u64 = 1_000_000_000;
/// A sample may take this share of the time until the next: reading a mapping's pages holds up calls of
/// the target that change its mappings.
const COST_SHARE: u64 = 100;
/// Samples of one session: with each doubling of it, they become half as frequent.
const SAMPLES: u64 = 256;
/// The time between two looks at a concurrent collector's pauses: a cycle is over when they have not changed.
const CYCLES_INTERVAL: Duration = Duration::from_secs(1);
/// Time for which the last sample is waited.
const PATIENCE: Duration = Duration::from_secs(10);

/// A concurrent collector's pauses, at moments of `CLOCK_MONOTONIC` in ns.
pub(super) type Cycles = Vec<(u64, ConcurrentCycles)>;

/// The thread that takes samples, and when the next is due.
pub(super) struct MemorySampler {
    requests: SyncSender<Request>,
    snapshots: Receiver<Option<MemorySnapshot>>,
    /// Cycles of the collector that are not taken yet.
    cycles: Arc<Mutex<Cycles>>,
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

impl MemorySampler {
    /// Starts sampling the memory of process `pid`.
    pub(super) fn start(pid: Pid) -> Self {
        let (requests, asked) = mpsc::sync_channel::<Request>(4);
        let (answer, snapshots) = mpsc::channel();
        let cycles = Arc::new(Mutex::new(Cycles::new()));
        let counted = Arc::clone(&cycles);
        let observe = move || {
            background::enter();
            let mut observer = Observer::new(pid);
            loop {
                match asked.recv_timeout(CYCLES_INTERVAL) {
                    Ok(request) => {
                        let snapshot = observer.sample(&request);
                        observer.count_pauses(&counted);
                        if answer.send(snapshot).is_err() {
                            return;
                        }
                    }
                    Err(RecvTimeoutError::Timeout) => observer.count_pauses(&counted),
                    Err(RecvTimeoutError::Disconnected) => return,
                }
            }
        };
        if let Err(error) = privilege::start_thread("memory", &READING, observe) {
            tracing::warn!(%error, "the process's memory is not looked at");
        }
        Self { requests, snapshots, cycles, under_way: false, started_ns: None, due_ns: 0, heap_due_ns: 0 }
    }

    /// Counts of a concurrent collector's pauses since the last call.
    pub(super) fn take_cycles(&self) -> Cycles {
        std::mem::take(&mut *self.cycles.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Asks for a sample if one is due, and gives the one that is there by now.
    pub(super) fn poll(&mut self, now_ns: u64) -> Option<MemorySnapshot> {
        self.started_ns.get_or_insert(now_ns);
        let snapshot = self.snapshots.try_recv().ok();
        if snapshot.is_some() {
            self.under_way = false;
        }
        let snapshot = snapshot.flatten();
        if let Some(snapshot) = &snapshot {
            self.schedule_next(snapshot, now_ns);
        }
        if !self.under_way && now_ns >= self.due_ns {
            self.ask(now_ns, now_ns >= self.heap_due_ns);
        }
        snapshot
    }

    /// Asks for the last sample, for [`Self::last`].
    pub(super) fn ask_last(&mut self, now_ns: u64) {
        self.ask(now_ns, true);
    }

    /// Drops what is under way: there is no last sample.
    pub(super) fn forget(&mut self) {
        self.under_way = false;
    }

    /// The sample that was asked for at `now_ns`, or else one that was under way. `None` if the process is
    /// gone, or too large to be read in time.
    pub(super) fn last(&mut self, now_ns: u64) -> Option<MemorySnapshot> {
        if !self.under_way {
            return None;
        }
        let deadline = Instant::now() + PATIENCE;
        let mut last = None;
        loop {
            match self.snapshots.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
                Ok(Some(snapshot)) if snapshot.time_ns == now_ns => return Some(snapshot),
                Ok(Some(snapshot)) => last = Some(snapshot),
                // That one failed: so will all later ones.
                Ok(None) | Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => return last,
            }
        }
    }

    fn ask(&mut self, time_ns: u64, walks_heap: bool) {
        self.under_way = self.requests.try_send(Request { time_ns, walks_heap }).is_ok();
    }

    fn schedule_next(&mut self, snapshot: &MemorySnapshot, now_ns: u64) {
        let spread = now_ns.saturating_sub(self.started_ns.unwrap_or(now_ns)) / SAMPLES;
        let interval = INTERVAL_NS.max(spread);
        let next = |took_ns: u64| now_ns.saturating_add(interval.max(took_ns.saturating_mul(COST_SHARE)));
        if snapshot.walked_heap {
            self.heap_due_ns = next(snapshot.took_ns);
            // Without the heap it costs less: how much will be seen.
            self.due_ns =
                now_ns.saturating_add(interval.max(snapshot.took_ns.saturating_mul(COST_SHARE / 4)));
        } else {
            self.due_ns = next(snapshot.took_ns);
        }
    }
}

/// Takes samples of one process.
struct Observer {
    pid: Pid,
    /// The executable mappings: where each is, and of which file.
    code: Vec<(u64, u64)>,
    modules: Vec<Module>,
    /// Indices of modules that have an allocator which they do not export.
    own_allocators: Vec<usize>,
    symbols: Option<Symbols>,
    jvm: Option<Hotspot>,
    /// Segments of the code cache, as they were when it was last walked.
    code_heaps: Vec<hotspot::stats::CodeHeap>,
    /// Budget of each sample.
    budget: ReadBudget,
}

impl Observer {
    fn new(pid: Pid) -> Self {
        Self {
            pid,
            code: Vec::new(),
            modules: Vec::new(),
            own_allocators: Vec::new(),
            symbols: None,
            jvm: None,
            code_heaps: Vec::new(),
            budget: ReadBudget::for_bytes(0),
        }
    }

    fn sample(&mut self, request: &Request) -> Option<MemorySnapshot> {
        // The cost of a sample for the target is the work it does, not how long it waits for a CPU.
        let begun_ns = thread_cpu_ns();
        self.budget.renew(Status::read(self.pid.leader()).map_or(0, |status| status.rss_bytes));
        self.follow();
        let memory = LiveMemory::open(self.pid).ok()?.within(&self.budget);
        let residency = PageMap::open(self.pid).ok()?.within(&self.budget);
        let source = vmmap::MapSource {
            pid: self.pid,
            modules: &self.modules,
            own_allocators: &self.own_allocators,
            memory: &memory,
            residency: &residency,
            jvm: self.jvm.as_ref(),
            walks_heap: request.walks_heap,
        };
        let map = vmmap::read(&source).map_err(|error| tracing::debug!(%error, "no map")).ok()?;
        let code = self.jvm.as_mut().filter(|_| request.walks_heap).map(code_cache);
        if request.walks_heap
            && let Some(jvm) = &self.jvm
        {
            self.code_heaps = jvm.code_heaps();
        }
        let limits = limits::read(&limits::LimitSource {
            pid: self.pid,
            map: Some(&map),
            jvm: self.jvm.as_ref(),
            code_heaps: &self.code_heaps,
        });
        if self.budget.is_spent() {
            tracing::warn!("the process's structures are damaged: its memory was not looked at to the end");
            return None;
        }
        let own = self.own_allocators.iter().filter_map(|&index| self.modules.get(index));
        let own_allocators = own.map(|module| module.path.clone()).collect();
        let took_ns = thread_cpu_ns().saturating_sub(begun_ns);
        tracing::debug!(
            took_ms = took_ns / 1_000_000,
            walked_heap = request.walks_heap,
            "sampled the memory"
        );
        Some(MemorySnapshot {
            time_ns: request.time_ns,
            took_ns,
            walked_heap: request.walks_heap,
            map,
            limits,
            code,
            own_allocators,
        })
    }

    /// Counts the pauses of the JVM's collector, if it is a concurrent one.
    fn count_pauses(&self, counted: &Mutex<Cycles>) {
        if let Some(cycles) = self.jvm.as_ref().and_then(|jvm| jvm.concurrent_cycles().ok().flatten()) {
            counted.lock().unwrap_or_else(PoisonError::into_inner).push((monotonic_ns(), cycles));
        }
    }

    /// Learns of new libraries, and of the JVM once it describes itself.
    fn follow(&mut self) {
        let mappings = mapping::read(self.pid).unwrap_or_default();
        let code = mappings.iter().filter(|mapping| mapping.executable && mapping.is_file());
        let code: Vec<(u64, u64)> = code.map(|mapping| (mapping.start, mapping.inode)).collect();
        if code != self.code {
            self.modules = module::modules(self.pid, &mappings);
            self.own_allocators = allocator::of_modules_alone(self.pid, &self.modules);
            self.code = code;
        }
        if self.jvm.is_none()
            && let Some(info) = jvm::find(self.pid, &self.modules)
        {
            if self.symbols.is_none() {
                self.symbols = Symbols::read(&info.libjvm.file, info.libjvm.load_bias).ok();
            }
            self.jvm =
                self.symbols.clone().zip(LiveMemory::open(self.pid).ok()).and_then(|(symbols, memory)| {
                    Hotspot::with_symbols(symbols, memory.within(&self.budget)).ok()
                });
        }
    }
}

/// Every heap and method of the code cache.
fn code_cache(hotspot: &mut Hotspot) -> CodeCache {
    let code = CodeUse::read(hotspot);
    let heap = |heap: crate::hotspot::stats::CodeHeap| CodeHeap {
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
