//! Owner of a mapping by the kernel's name of it.

use super::owner::Owner;
use crate::hotspot::RangeKind;
use crate::process::Module;
use crate::process::mapping::Mapping;

/// The owner of what the JVM says is its.
pub(super) const fn of_kind(kind: RangeKind) -> Owner {
    match kind {
        RangeKind::JavaHeap => Owner::JavaHeap,
        RangeKind::Metaspace => Owner::Metaspace,
        RangeKind::ClassSpace => Owner::ClassSpace,
        RangeKind::CodeHeap | RangeKind::CodeHeapMap => Owner::CodeCache,
        RangeKind::Gc => Owner::Gc,
        RangeKind::PollingPage => Owner::Jvm,
    }
}

/// Name of such a range.
pub(super) fn of_range(kind: RangeKind, name: Option<&'static str>) -> String {
    match kind {
        RangeKind::JavaHeap => name.unwrap_or("reserved").to_owned(),
        RangeKind::CodeHeapMap => format!("{} (segment map)", name.unwrap_or("code heap")),
        RangeKind::CodeHeap => name.unwrap_or("code heap").to_owned(),
        RangeKind::Gc => name.unwrap_or("tables").to_owned(),
        RangeKind::PollingPage => "polling page".to_owned(),
        RangeKind::Metaspace | RangeKind::ClassSpace => String::new(),
    }
}

/// The owner of a mapping that nobody claims, and what of it this is.
pub(super) fn of_mapping(mapping: &Mapping, modules: &[Module]) -> (Owner, String) {
    let path = mapping.path.as_str();
    let file = path.strip_suffix(" (deleted)").unwrap_or(path);
    let name = || path.to_owned();
    match path {
        "" if mapping.shared || mapping.inode != 0 => (Owner::SharedMemory, "anonymous".to_owned()),
        "" => (Owner::Unexplained, String::new()),
        "[heap]" => (Owner::MallocArena, "main arena (program break)".to_owned()),
        "[stack]" => (Owner::ThreadStack, "process's first thread".to_owned()),
        _ if path.starts_with("[anon:") => (Owner::Unexplained, name()),
        _ if path.starts_with("[anon_shmem:") => (Owner::SharedMemory, name()),
        _ if path.starts_with('[') => (Owner::Kernel, name()),
        _ if file.starts_with("/memfd:java_heap") || file.ends_with("/java_heap") => {
            (Owner::JavaHeap, "heap file".to_owned())
        }
        _ if is_shared_memory(file) => (Owner::SharedMemory, name()),
        _ if file.ends_with(".jsa") => (Owner::Cds, name()),
        _ if file.contains("/hsperfdata_") => (Owner::Jvm, "performance counters".to_owned()),
        _ if is_module(mapping, modules) => (Owner::Library, format!("{path} {}", section(mapping))),
        _ => (Owner::MappedFile, name()),
    }
}

fn is_shared_memory(file: &str) -> bool {
    ["/memfd:", "/dev/shm/", "/SYSV"].iter().any(|start| file.starts_with(start)) || file == "/dev/zero"
}

fn is_module(mapping: &Mapping, modules: &[Module]) -> bool {
    let same = |module: &Module| module.inode == mapping.inode && module.device == mapping.device;
    modules.iter().any(same) || mapping.executable
}

fn section(mapping: &Mapping) -> &'static str {
    match (mapping.readable, mapping.writable, mapping.executable) {
        (_, _, true) => "text",
        (_, true, false) => "data",
        (true, false, false) => "rodata",
        (false, false, false) => "gap",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn owner(path: &str) -> Owner {
        let mapping =
            Mapping { path: path.into(), inode: u64::from(path.starts_with('/')), ..Mapping::default() };
        of_mapping(&mapping, &[]).0
    }

    #[test]
    fn names_of_the_kernel() {
        assert_eq!(owner(""), Owner::Unexplained);
        assert_eq!(owner("[anon: mine]"), Owner::Unexplained);
        assert_eq!(owner("[heap]"), Owner::MallocArena);
        assert_eq!(owner("[vvar_vclock]"), Owner::Kernel);
        assert_eq!(owner("/memfd:java_heap (deleted)"), Owner::JavaHeap);
        assert_eq!(owner("/memfd:buffers (deleted)"), Owner::SharedMemory);
        assert_eq!(owner("/opt/jdk/lib/server/classes.jsa"), Owner::Cds);
        assert_eq!(owner("/tmp/hsperfdata_root/12"), Owner::Jvm);
        assert_eq!(owner("/opt/app.jar"), Owner::MappedFile);
    }
}
