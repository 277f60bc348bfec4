//! Takes the map of a live process and, if it is a JVM, of the parts that the JVM describes.

use super::build::{Map, MapSource, read};
use crate::hotspot::{Hotspot, HotspotError};
use crate::process::memory::LiveMemory;
use crate::process::pagemap::PageMap;
use crate::process::read_budget::ReadBudget;
use crate::process::target::Status;
use crate::process::{Target, TargetError, allocator};

/// A map, and what it lacks.
#[derive(Debug)]
pub struct Taken {
    pub map: Map,
    /// The reason for which parts of the JVM are not told apart.
    pub jvm_error: Option<HotspotError>,
    /// The reason for which the map is not whole.
    pub cut_short: Option<String>,
}

/// Takes the map of a process with every chunk of its heap.
///
/// # Errors
/// Not permitted, or the process ended meanwhile.
pub fn of_process(target: &Target) -> Result<Taken, TargetError> {
    let pid = target.pid;
    let unreadable = |error| target.unreadable(error);
    let resident = Status::read(pid.leader()).map_or(0, |status| status.rss_bytes);
    let budget = ReadBudget::for_bytes(resident);
    let memory = LiveMemory::open(pid).map_err(unreadable)?.within(&budget);
    let residency = PageMap::open(pid).map_err(unreadable)?.within(&budget);
    let (jvm, jvm_error) = match open_jvm(target, &budget) {
        None => (None, None),
        Some(Ok(jvm)) => (Some(jvm), None),
        Some(Err(error)) => (None, Some(error)),
    };
    let source = MapSource {
        pid,
        modules: &target.modules,
        memory: &memory,
        own_allocators: &allocator::of_modules_alone(pid, &target.modules),
        residency: &residency,
        jvm: jvm.as_ref(),
        walks_heap: true,
    };
    let map = read(&source).map_err(unreadable)?;
    Ok(Taken { map, jvm_error, cut_short: budget.cut_short() })
}

fn open_jvm(target: &Target, budget: &ReadBudget) -> Option<Result<Hotspot, HotspotError>> {
    let info = target.jvm.as_ref()?;
    let memory = LiveMemory::open(target.pid).map_err(HotspotError::Library);
    let memory = memory.map(|memory| memory.within(budget));
    Some(memory.and_then(|memory| Hotspot::open(&info.libjvm.file, info.libjvm.load_bias, memory)))
}
