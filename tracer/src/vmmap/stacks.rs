//! Thread stacks: where each lies, whose it is, and which belong to threads that have ended.
//!
//! glibc keeps a descriptor at the top of every stack that it made, and lists of those in use and of
//! those kept for the next thread. The descriptor's fields are where glibc tells debuggers that they are
//! (`nptl_db/structs.def`, the `_thread_db_*` variables of libc.so), and the lists lie in the dynamic
//! linker's `_rtld_global` (glibc 2.34 and later). The stack's block is found in the descriptor by what it
//! must be: pages around the descriptor itself. Information that the JVM has about its Java threads counts besides,
//! and alone where glibc is another.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use tracer_common::arch::PAGE_BYTES;

use crate::hotspot::JavaThread;
use crate::process::elf::SymbolTable;
use crate::process::memory::ProcessMemory;
use crate::process::target::Status;
use crate::process::{InnerTid, Module, Pid, Tid};

/// Stacks of one process, in use or kept.
const MAX_STACKS: usize = 1 << 17;
/// A descriptor is not larger (about 2,300 bytes).
const MAX_DESCRIPTOR_BYTES: u64 = 16 << 10;
/// No stack is larger.
const MAX_STACK_BYTES: u64 = 16 << 30;

/// A stack with its guard pages.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ThreadStack {
    pub range: Range<u64>,
    /// Thread id in the target's own pid namespace; none: its thread has ended, and the stack waits for another.
    pub tid: Option<InnerTid>,
}

/// A thread of the target.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Named {
    pub(super) name: String,
    pub(super) tid: Tid,
}

/// The threads of process `pid`, by their ids in its own pid namespace: in full where the JVM tells a
/// name, else as the kernel has it.
pub(super) fn names(pid: Pid, java: &[JavaThread]) -> BTreeMap<InnerTid, Named> {
    let mut names = BTreeMap::new();
    for tid in pid.threads().into_iter().flatten() {
        let Ok(status) = Status::read(tid) else { continue };
        let name = pid.thread_name(tid).unwrap_or_default();
        names.insert(status.inner_tid(tid), Named { name, tid });
    }
    for thread in java {
        if let (Some(named), Some(name)) = (names.get_mut(&thread.tid), &thread.name) {
            named.name.clone_from(name);
        }
    }
    names
}

/// The stacks of glibc's threads, sorted by address. Empty if this is not such a glibc.
pub(super) fn glibc(
    modules: &[Module],
    memory: &dyn ProcessMemory,
    live: &BTreeMap<InnerTid, Named>,
) -> Vec<ThreadStack> {
    let Some(layout) = Layout::of(modules, memory) else { return Vec::new() };
    let mut stacks = Vec::new();
    let mut seen = BTreeSet::new();
    for (head, in_use) in [(layout.used, true), (layout.user, true), (layout.cache, false)] {
        let Some(head) = head else { continue };
        let mut next = memory.read_u64(head + layout.next).unwrap_or(head);
        while next != head && seen.len() < MAX_STACKS {
            let descriptor = next.wrapping_sub(layout.list);
            if descriptor % 16 != 0 || !seen.insert(descriptor) {
                break;
            }
            if let Some(stack) = layout.stack(memory, descriptor, in_use, live) {
                stacks.push(stack);
            }
            next = match memory.read_u64(next + layout.next) {
                Ok(next) => next,
                Err(_) => break,
            };
        }
    }
    stacks.sort_by_key(|stack| stack.range.start);
    stacks
}

/// Offsets of glibc's structures that are needed.
struct Layout {
    descriptor_bytes: u64,
    tid: u64,
    list: u64,
    next: u64,
    /// Heads of the lists: stacks that glibc made, those that programs gave, those kept.
    used: Option<u64>,
    user: Option<u64>,
    cache: Option<u64>,
}

impl Layout {
    fn of(modules: &[Module], memory: &dyn ProcessMemory) -> Option<Self> {
        let libc = modules.iter().find(|module| is_libc(module.name()))?;
        let loader = modules.iter().find(|module| module.name().starts_with("ld-"))?;
        let described = variables(libc, "_thread_db_");
        // A field: bits, count, offset. A size: a number.
        let offset = |name: &str| {
            let at = described.get(&format!("_thread_db_{name}"))?;
            memory.read_u32(at + 8).ok().map(u64::from).filter(|offset| *offset < MAX_DESCRIPTOR_BYTES)
        };
        let size = memory.read_u32(*described.get("_thread_db_sizeof_pthread")?).ok()?;
        let global = *variables(loader, "_rtld_global").get("_rtld_global")?;
        let head = |name: &str| Some(global + offset(name)?);
        let (next, user) = (offset("list_t_next")?, head("rtld_global__dl_stack_user"));
        let is_list = |head: &u64| memory.read_u64(head + next).is_ok_and(|first| first != 0);
        Some(Self {
            descriptor_bytes: u64::from(size).min(MAX_DESCRIPTOR_BYTES),
            tid: offset("pthread_tid")?,
            list: offset("pthread_list")?,
            next,
            used: head("rtld_global__dl_stack_used").filter(is_list),
            user: user.filter(is_list),
            // It follows the list before it (`sysdeps/generic/ldsodefs.h`), which glibc does not tell debuggers.
            cache: user.map(|user| user + 16).filter(is_list),
        })
    }

    fn stack(
        &self,
        memory: &dyn ProcessMemory,
        descriptor: u64,
        in_use: bool,
        live: &BTreeMap<InnerTid, Named>,
    ) -> Option<ThreadStack> {
        let mut bytes = vec![0; usize::try_from(self.descriptor_bytes).ok()?];
        memory.read(descriptor, &mut bytes).ok()?;
        let words: Vec<u64> = bytes.as_chunks::<8>().0.iter().map(|word| u64::from_le_bytes(*word)).collect();
        // `header.tcb` and `header.self`.
        if words.first() != Some(&descriptor) || words.get(2) != Some(&descriptor) {
            return None;
        }
        let tid = bytes.get(usize::try_from(self.tid).ok()?..)?.first_chunk::<4>().copied()?;
        let tid = Some(InnerTid(u32::from_le_bytes(tid))).filter(|tid| in_use && live.contains_key(tid));
        let end = descriptor.checked_add(self.descriptor_bytes)?;
        let block = words.windows(2).find_map(|pair| {
            let (start, bytes) = (*pair.first()?, *pair.get(1)?);
            let range = start..start.checked_add(bytes)?;
            let pages = start.is_multiple_of(PAGE_BYTES) && bytes.is_multiple_of(PAGE_BYTES);
            let around = 0 < start && start < descriptor && end <= range.end && bytes <= MAX_STACK_BYTES;
            (pages && around).then_some(range)
        })?;
        Some(ThreadStack { range: block, tid })
    }
}

fn is_libc(name: &str) -> bool {
    name.starts_with("libc.so") || name.starts_with("libc-2")
}

/// Runtime addresses of the exported variables of `module` whose names begin so.
fn variables(module: &Module, prefix: &str) -> BTreeMap<String, u64> {
    let symbols = module.elf().and_then(|elf| elf.symbols(SymbolTable::Dynamic));
    let mut variables = BTreeMap::new();
    if let Ok(symbols) = symbols {
        for symbol in symbols.iter().filter(|symbol| symbol.vaddr != 0) {
            if let Ok(name) = std::str::from_utf8(symbol.name)
                && name.starts_with(prefix)
            {
                variables.insert(name.to_owned(), module.address(symbol.vaddr));
            }
        }
    }
    variables
}
