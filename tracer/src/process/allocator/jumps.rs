//! Functions that do no more than lead to another: probed as well, every call would be seen twice.

use std::collections::BTreeMap;

use super::scan::Definition;
use crate::arch::jump::{self, Destination};
use crate::process::elf::Elf;
use crate::process::memory::ProcessMemory;
use crate::process::module::Module;

/// Target of a jump.
enum Jump {
    /// A runtime address.
    Address(u64),
    /// The function of this name, through the linkage table.
    Import(String),
}

/// Follows the jumps in a module's code.
pub(super) struct Jumps<'a> {
    pub(super) module: &'a Module,
    pub(super) elf: &'a Elf,
    pub(super) memory: Option<&'a dyn ProcessMemory>,
    pub(super) imports: &'a BTreeMap<u64, String>,
}

impl Jumps<'_> {
    /// Does the function only lead to one of those that are `used`? jemalloc's `operator delete` is
    /// but a jump to its `free`, its sized one a few instructions before that; its `operator new[]`
    /// jumps to `operator new`.
    pub(super) fn forward(&self, definition: &Definition, used: &BTreeMap<u64, &Definition>) -> bool {
        let other = |found: &Definition| !std::ptr::eq(found, definition);
        self.leads(definition.vaddr, used, other) || self.is_small_free(definition, used)
    }

    /// Is the code at `vaddr` but a jump, perhaps through further ones, to one that `wanted` takes?
    fn leads(
        &self,
        vaddr: u64,
        used: &BTreeMap<u64, &Definition>,
        wanted: impl Fn(&Definition) -> bool,
    ) -> bool {
        const MAX_JUMPS: usize = 6;
        let mut at = vaddr;
        for _ in 0..MAX_JUMPS {
            match self.follow(at) {
                Some(Jump::Address(address)) if used.get(&address).is_some_and(|of| wanted(of)) => {
                    return true;
                }
                Some(Jump::Address(address)) => at = address.wrapping_sub(self.module.load_bias),
                Some(Jump::Import(name)) => {
                    return used.values().any(|of| of.names.contains(&name) && wanted(of));
                }
                None => return false,
            }
        }
        false
    }

    /// A few instructions that end with a jump to, or call of, another function that frees. (An
    /// allocation in an allocation is told by its return; a free has none.)
    fn is_small_free(&self, definition: &Definition, used: &BTreeMap<u64, &Definition>) -> bool {
        const MAX_BYTES: u64 = 96;
        if definition.function.allocates() || definition.size > MAX_BYTES {
            return false;
        }
        let Ok(bytes) = self.elf.bytes(definition.file_offset, definition.size) else { return false };
        let frees = |found: &Definition| !found.function.allocates() && !std::ptr::eq(found, definition);
        jump::candidates(&bytes, definition.vaddr).any(|to| {
            used.get(&self.module.address(to)).is_some_and(|of| frees(of)) || self.leads(to, used, frees)
        })
    }

    /// The destination of the code at `vaddr`, if its first instruction is a jump.
    fn follow(&self, vaddr: u64) -> Option<Jump> {
        let code = self.elf.bytes(self.elf.code_offset(vaddr)?, jump::MAX_BYTES).ok()?;
        let slot = match jump::first(&code, vaddr)? {
            Destination::Code(to) => return Some(Jump::Address(self.module.address(to))),
            Destination::Slot(slot) => self.module.address(slot),
        };
        // By name where it is one of the family: the slot may not be bound yet.
        match self.imports.get(&slot) {
            Some(name) => Some(Jump::Import(name.clone())),
            None => self.memory?.read_u64(slot).ok().map(Jump::Address),
        }
    }
}
