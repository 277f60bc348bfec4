//! Takes a census: of a live process, or of a core file.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use thiserror::Error;

use super::document::{Census, Subject, Taken};
use super::fill::{Readings, fill};
use super::{CensusSource, Known};
use crate::hotspot::{Hotspot, JavaThread};
use crate::process::allocator::{self, Allocator};
use crate::process::core::{Core, CoreError};
use crate::process::memory::LiveMemory;
use crate::process::pagemap::PageMap;
use crate::process::read_budget::ReadBudget;
use crate::process::target::{Status, Target, TargetError};
use crate::process::{InnerTid, Pid, Tid, inspect};
use crate::{limits, vmmap};

/// Threads of a process that are looked at.
const MAX_THREADS: usize = 1 << 16;

/// Reason why a process or a core file is not looked at.
#[derive(Debug, Error)]
pub enum TakeError {
    #[error(transparent)]
    Target(#[from] TargetError),
    #[error("it was not through in {} s", after.as_secs())]
    Late { after: Duration },
    #[error("core file {}: {source}", path.display())]
    Core { path: PathBuf, source: CoreError },
}

impl TakeError {
    /// The remedy, for the line `help: ...`.
    pub fn help(&self) -> String {
        match self {
            Self::Target(error) => error.help(),
            Self::Late { .. } => "take it when the machine has more time".to_owned(),
            Self::Core { .. } => {
                "name a core file of the process: `gcore PID`, or `coredumpctl dump`, writes one".to_owned()
            }
        }
    }
}

/// The key in `unknown` of what was not read because the budget was spent.
const READING: &str = "reading";

/// Takes the census of process `pid`. Its structures may be damaged: what reading takes is bounded by its resident
/// memory, and a census that was cut short says so.
///
/// # Errors
/// No such process, not permitted, or it ended meanwhile.
pub fn of_process(pid: Pid) -> Result<Census, TakeError> {
    let resident = Status::read(pid.leader()).map_or(0, |status| status.rss_bytes);
    let budget = ReadBudget::for_bytes(resident);
    let mut census = take(pid, &budget)?;
    mark(&mut census, &budget);
    Ok(census)
}

/// Marks a census that was cut short.
fn mark(census: &mut Census, budget: &ReadBudget) {
    if let Some(why) = budget.cut_short() {
        census.unknown.insert(READING.to_owned(), format!("{why}: what is here is not whole"));
    }
}

/// Takes the census of process `pid`; nothing is read any more from `deadline` on.
///
/// # Errors
/// As [`of_process`], or it was not done by then.
pub fn by_deadline(pid: Pid, deadline: Instant) -> Result<Census, TakeError> {
    let begin = Instant::now();
    let resident = Status::read(pid.leader()).map_or(0, |status| status.rss_bytes);
    let budget = ReadBudget::until(deadline, resident);
    let census = take(pid, &budget)?;
    // A census that was cut short is not whole.
    let is_late = budget.is_spent() || Instant::now() >= deadline;
    if is_late { Err(TakeError::Late { after: begin.elapsed() }) } else { Ok(census) }
}

fn take(pid: Pid, budget: &ReadBudget) -> Result<Census, TakeError> {
    let begin = Instant::now();
    let target = inspect(pid)?;
    let unreadable = |error| target.unreadable(error);
    let memory = LiveMemory::open(pid).map_err(unreadable)?.within(budget);
    let residency = PageMap::open(pid).map_err(unreadable)?.within(budget);
    let found = allocator::find(&target, Some(&memory));
    let mut hotspot = target.jvm.as_ref().map(|jvm| -> Known<Hotspot> {
        let memory = LiveMemory::open(pid).map_err(|error| error.to_string())?.within(budget);
        Hotspot::open(&jvm.libjvm.file, jvm.libjvm.load_bias, memory).map_err(|error| error.to_string())
    });
    let java = match &hotspot {
        Some(Ok(hotspot)) => hotspot.threads(),
        _ => Vec::new(),
    };
    let source = vmmap::MapSource {
        pid,
        modules: &target.modules,
        memory: &memory,
        own_allocators: &found.own().map(|allocator| allocator.module).collect::<Vec<_>>(),
        residency: &residency,
        jvm: hotspot.as_ref().and_then(|hotspot| hotspot.as_ref().ok()),
        // The census walks it itself, and shows each chunk to those who may know it.
        walks_heap: false,
    };
    let map = vmmap::read(&source).map_err(unreadable)?;
    let source = CensusSource {
        memory: &memory,
        residency: &residency,
        mappings: &target.mappings,
        allocator: found.of_process().map(|allocator| allocator.kind),
        rss_bytes: Status::read(pid.leader()).ok().map(|status| status.rss_bytes),
        is_image: false,
        map: Some(&map),
    };
    let readings = Readings::read(&source, hotspot.as_mut(), thread_names(&target, &java));
    let heading = Census {
        target: Subject {
            pid,
            comm: target.comm.raw().to_owned(),
            command: target.command.clone(),
            container: target.container.clone(),
            jvm: None,
        },
        taken: Taken { duration_ns: elapsed_ns(begin), core: None },
        ..Census::default()
    };
    let java_home = target.jvm.as_ref().and_then(|jvm| jvm.java_home.clone());
    let mut census = fill(heading, &readings, java_home);
    let jvm = hotspot.as_ref().and_then(|hotspot| hotspot.as_ref().ok());
    let limits =
        limits::read(&limits::LimitSource { pid, map: Some(&map), jvm, code_heaps: readings.code_heaps() });
    let own: Vec<String> = found.own().map(Allocator::named).collect();
    if !own.is_empty() {
        census.unknown.insert("own_allocators".to_owned(), format!("not read: that of {}", own.join(", ")));
    }
    census.memory.limit_bytes =
        limits.iter().find(|limit| limit.id == "cgroup-memory").and_then(|it| it.limit);
    census.fits = limits::fits(&limits, &map);
    census.limits = Some(limits);
    if !target.is_alive() {
        return Err(TargetError::EndedMeanwhile { pid, comm: target.comm }.into());
    }
    Ok(census)
}

/// Takes the census of the process that a core file was written of.
///
/// # Errors
/// The file cannot be read, or is no core file of a process of this kind of machine.
pub fn of_core(path: &Path) -> Result<Census, TakeError> {
    let begin = Instant::now();
    let refused = |source| TakeError::Core { path: path.to_owned(), source };
    let core = Core::open(path).map_err(refused)?;
    let stored = core.stored_bytes().map_err(CoreError::Io).map_err(refused)?;
    let budget = ReadBudget::for_bytes(stored);
    let core = Arc::new(core.within(&budget));
    let mappings = core.mappings();
    let mut hotspot = core.libjvm().map(|libjvm| -> Known<Hotspot> {
        Hotspot::of_core(&core, &libjvm).map_err(|error| error.to_string())
    });
    let java = match &hotspot {
        Some(Ok(hotspot)) => hotspot.threads(),
        _ => Vec::new(),
    };
    let java = names_by_tid(&java);
    let name = |tid: &InnerTid| java.get(tid).map_or("not named in a core", |name| *name).to_owned();
    let names = core.tids().iter().map(name).collect();
    let source = CensusSource {
        memory: &core,
        residency: &*core,
        mappings: &mappings,
        allocator: None,
        rss_bytes: None,
        is_image: true,
        map: None,
    };
    let readings = Readings::read(&source, hotspot.as_mut(), Ok(names));
    let heading = Census {
        target: Subject {
            pid: core.pid(),
            comm: core.comm().to_owned(),
            command: core.arguments().split_ascii_whitespace().map(str::to_owned).collect(),
            ..Subject::default()
        },
        taken: Taken { duration_ns: elapsed_ns(begin), core: Some(path.display().to_string()) },
        ..Census::default()
    };
    let mut census = fill(heading, &readings, None);
    census.unknown.insert("limits".to_owned(), "a core file does not tell them".to_owned());
    mark(&mut census, &budget);
    Ok(census)
}

fn elapsed_ns(since: Instant) -> u64 {
    u64::try_from(since.elapsed().as_nanos()).unwrap_or(u64::MAX)
}

/// Every thread's name: in full as the JVM has it, or the kernel's.
fn thread_names(target: &Target, java: &[JavaThread]) -> Known<Vec<String>> {
    let nested = target.namespace_pids.len() > 1;
    let java = names_by_tid(java);
    let tids = target.pid.threads().map_err(|error| error.to_string())?;
    let name = |tid: Tid| {
        let status = nested.then(|| Status::read(tid).ok()).flatten();
        let inner = status.map_or(InnerTid(tid.0), |status| status.inner_tid(tid));
        java.get(&inner).map(|name| (*name).to_owned()).or_else(|| target.pid.thread_name(tid))
    };
    Ok(tids.take(MAX_THREADS).filter_map(name).collect())
}

fn names_by_tid(java: &[JavaThread]) -> BTreeMap<InnerTid, &str> {
    java.iter().filter_map(|thread| Some((thread.tid, thread.name.as_deref()?))).collect()
}
