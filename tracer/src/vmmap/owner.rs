//! Owner of a part of the address space.

/// The owner of a part. The ids are stable; where a category of allocations is the same thing, it has
/// the same id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Owner {
    JavaHeap,
    Metaspace,
    ClassSpace,
    CodeCache,
    Gc,
    Cds,
    ThreadStack,
    /// Stacks of threads that ended: glibc keeps up to 40 MiB of them.
    CachedStack,
    /// Heaps of the C library's allocator: the program break, and arenas of threads.
    MallocArena,
    /// Allocations that have a mapping of their own.
    MallocMapped,
    /// Memory of allocators that libraries have for themselves.
    OwnAllocator,
    Library,
    MappedFile,
    SharedMemory,
    /// The JVM's, as it seems, but not known for what.
    Jvm,
    Kernel,
    Unexplained,
}

impl Owner {
    /// Owners in the order in which they are listed when equal.
    pub const ALL: [Owner; 17] = [
        Owner::JavaHeap,
        Owner::Metaspace,
        Owner::ClassSpace,
        Owner::CodeCache,
        Owner::Gc,
        Owner::Cds,
        Owner::ThreadStack,
        Owner::CachedStack,
        Owner::MallocArena,
        Owner::MallocMapped,
        Owner::OwnAllocator,
        Owner::Library,
        Owner::MappedFile,
        Owner::SharedMemory,
        Owner::Jvm,
        Owner::Kernel,
        Owner::Unexplained,
    ];

    /// Id in JSON and recordings.
    pub const fn id(self) -> &'static str {
        match self {
            Owner::JavaHeap => "java-heap",
            Owner::Metaspace => "metaspace",
            Owner::ClassSpace => "class-space",
            Owner::CodeCache => "code-cache",
            Owner::Gc => "gc",
            Owner::Cds => "cds",
            Owner::ThreadStack => "thread-stack",
            Owner::CachedStack => "cached-stack",
            Owner::MallocArena => "malloc-arena",
            Owner::MallocMapped => "malloc-mapped",
            Owner::OwnAllocator => "library-allocator",
            Owner::Library => "library",
            Owner::MappedFile => "mapped-file",
            Owner::SharedMemory => "shared-memory",
            Owner::Jvm => "jvm",
            Owner::Kernel => "kernel",
            Owner::Unexplained => "unexplained",
        }
    }

    /// Name for people.
    pub const fn name(self) -> &'static str {
        match self {
            Owner::JavaHeap => "Java heap",
            Owner::Metaspace => "metaspace",
            Owner::ClassSpace => "class space",
            Owner::CodeCache => "code cache",
            Owner::Gc => "garbage collector",
            Owner::Cds => "CDS archive",
            Owner::ThreadStack => "thread stacks",
            Owner::CachedStack => "stacks of ended threads",
            Owner::MallocArena => "malloc: arenas",
            Owner::MallocMapped => "malloc: large blocks",
            Owner::OwnAllocator => "libraries' own allocators",
            Owner::Library => "programs, libraries",
            Owner::MappedFile => "mapped files",
            Owner::SharedMemory => "shared memory",
            Owner::Jvm => "rest of the JVM",
            Owner::Kernel => "kernel's own",
            Owner::Unexplained => "unexplained",
        }
    }

    /// The owner with this id.
    pub fn from_id(id: &str) -> Option<Owner> {
        Owner::ALL.into_iter().find(|owner| owner.id() == id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_told_apart() {
        for owner in Owner::ALL {
            assert_eq!(Owner::from_id(owner.id()), Some(owner));
        }
        assert_eq!(Owner::from_id("heap"), None);
    }
}
