//! The session's address space against the kernel's: random mapping calls are made by a real process, and what is
//! booked of them is compared with a model of one owner for each page, and with the process's own list of mappings.

mod common;

use std::collections::BTreeMap;
use std::process::Command;

use common::fixture::c_program;
use common::process::{Lines, Process};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use tracer::process::mapping;
use tracer::session::mappings::{MappingKind, Mappings};
use tracer_common::arch::PAGE_BYTES;
use tracer_common::record::{MappingRecord, mapping_call};
use tracer_common::stack::StackId;

/// Pages of the range that calls at fixed addresses are made in.
const PAGES: u64 = 64;
const MAP_PRIVATE_ANONYMOUS: u64 = 0x22;
const MAP_FIXED: u64 = 0x10;
const MREMAP_MAYMOVE: u64 = 1;
const MREMAP_FIXED: u64 = 2;

/// A call, in pages from the range's start.
#[derive(Clone, Copy, Debug)]
enum Call {
    /// Anywhere.
    Map {
        pages: u64,
    },
    MapFixed {
        at: u64,
        pages: u64,
        protection: u64,
    },
    Unmap {
        at: u64,
        pages: u64,
    },
    Protect {
        at: u64,
        pages: u64,
        protection: u64,
    },
    /// The mapping stays in place, or goes wherever there is room.
    Resize {
        at: u64,
        pages: u64,
        new_pages: u64,
    },
    Move {
        at: u64,
        pages: u64,
        new_pages: u64,
        to: u64,
    },
    /// The program break, in bytes from where it began.
    Break {
        bytes: u64,
    },
}

fn calls() -> impl Strategy<Value = Vec<Call>> {
    let at = 0..PAGES - 8;
    let pages = 1..9u64;
    let protection = prop_oneof![Just(0), Just(1), Just(3)];
    let call = prop_oneof![
        1 => pages.clone().prop_map(|pages| Call::Map { pages }),
        4 => (at.clone(), pages.clone(), protection.clone())
            .prop_map(|(at, pages, protection)| Call::MapFixed { at, pages, protection }),
        3 => (at.clone(), pages.clone()).prop_map(|(at, pages)| Call::Unmap { at, pages }),
        2 => (at.clone(), pages.clone(), protection)
            .prop_map(|(at, pages, protection)| Call::Protect { at, pages, protection }),
        2 => (at.clone(), pages.clone(), pages.clone())
            .prop_map(|(at, pages, new_pages)| Call::Resize { at, pages, new_pages }),
        2 => (at.clone(), pages.clone(), pages.clone(), at)
            .prop_map(|(at, pages, new_pages, to)| Call::Move { at, pages, new_pages, to }),
        1 => (0..20_000u64).prop_map(|bytes| Call::Break { bytes }),
    ];
    proptest::collection::vec(call, 1..40)
}

/// Owner of each page, by its address.
#[derive(Default)]
struct Model {
    pages: BTreeMap<u64, u64>,
    allocated: BTreeMap<u64, u64>,
}

impl Model {
    fn owner(&self, page: u64) -> Option<u64> {
        self.pages.get(&page).copied()
    }

    fn map(&mut self, start: u64, end: u64, owner: u64) {
        for page in (start..end).step_by(PAGE_BYTES as usize) {
            // A mapping over one that is there stays its owner's: that is how a reservation is committed.
            if self.pages.insert(page, self.owner(page).unwrap_or(owner)).is_none() {
                *self.allocated.entry(owner).or_default() += PAGE_BYTES;
            }
        }
    }

    fn unmap(&mut self, start: u64, end: u64) {
        self.pages.retain(|page, _| !(start..end).contains(page));
    }

    fn remap(&mut self, old: u64, old_bytes: u64, new: u64, new_bytes: u64) {
        let moved: Vec<(u64, u64)> =
            self.pages.range(old..old + old_bytes).map(|(page, owner)| (page - old, *owner)).collect();
        self.unmap(old, old + old_bytes);
        self.unmap(new + old_bytes, new + new_bytes.max(old_bytes));
        for (offset, owner) in moved.iter().filter(|(offset, _)| *offset < new_bytes) {
            self.pages.insert(new + offset, *owner);
        }
        let owner = moved.last().expect("what is moved is mapped").1;
        for page in (new + old_bytes..new + new_bytes).step_by(PAGE_BYTES as usize) {
            if let std::collections::btree_map::Entry::Vacant(entry) = self.pages.entry(page) {
                entry.insert(owner);
                *self.allocated.entry(owner).or_default() += PAGE_BYTES;
            }
        }
    }
}

/// The process, what is booked of its calls, and the model.
struct Replay {
    process: Process,
    stdout: Lines,
    space: u64,
    initial_break: u64,
    mappings: Mappings,
    model: Model,
}

impl Replay {
    fn start() -> Replay {
        let (process, mut stdout, _stderr) = Process::start(&mut Command::new(c_program("mapping_calls")));
        let space = stdout.until("started").split_once(' ').map(|(_, hex)| u64::from_str_radix(hex, 16));
        let space = space.expect("an address").expect("hexadecimal");
        let mut replay = Replay {
            process,
            stdout,
            space,
            initial_break: 0,
            mappings: Mappings::default(),
            model: Model::default(),
        };
        for mapping in mapping::read(replay.process.pid()).expect("its mappings") {
            replay.mappings.mapped_before(mapping.start, mapping.end);
        }
        replay.initial_break = replay.call("b 0 0 0 0 0").cast_unsigned();
        replay.mappings.set_program_break(replay.initial_break);
        replay
    }

    fn call(&mut self, line: &str) -> i64 {
        self.process.tell(line);
        self.stdout.next().parse().expect("a number")
    }

    /// Makes one call of owner `stack`, and books it if it succeeded.
    fn make(&mut self, call: Call, stack: u64) {
        let address = |page: u64| self.space + page * PAGE_BYTES;
        let bytes = |pages: u64| pages * PAGE_BYTES;
        let mut record = MappingRecord { stack: StackId(stack), ..MappingRecord::ZERO };
        let line = match call {
            Call::Map { pages } => {
                (record.call, record.length_bytes) = (mapping_call::MMAP, bytes(pages));
                record.flags = MAP_PRIVATE_ANONYMOUS;
                format!("m 0 {:x} 3 {MAP_PRIVATE_ANONYMOUS:x} 0", bytes(pages))
            }
            Call::MapFixed { at, pages, protection } => {
                (record.call, record.length_bytes) = (mapping_call::MMAP, bytes(pages));
                record.flags = MAP_PRIVATE_ANONYMOUS | MAP_FIXED;
                format!("m {:x} {:x} {protection:x} {:x} 0", address(at), bytes(pages), record.flags)
            }
            Call::Unmap { at, pages } => {
                (record.call, record.address) = (mapping_call::MUNMAP, address(at));
                // A length need not be whole pages.
                record.length_bytes = bytes(pages) - 123;
                format!("u {:x} {:x} 0 0 0", address(at), record.length_bytes)
            }
            Call::Protect { at, pages, protection } => {
                (record.call, record.address) = (mapping_call::MPROTECT, address(at));
                (record.length_bytes, record.protection) = (bytes(pages), protection as u32);
                format!("p {:x} {:x} {protection:x} 0 0", address(at), bytes(pages))
            }
            Call::Resize { at, pages, new_pages } => {
                (record.call, record.length_bytes) = (mapping_call::MREMAP, bytes(new_pages));
                (record.argument, record.argument2) = (address(at), bytes(pages));
                record.flags = MREMAP_MAYMOVE;
                let (at, pages, new) = (address(at), bytes(pages), bytes(new_pages));
                format!("r {at:x} {pages:x} {new:x} {:x} 0", record.flags)
            }
            Call::Move { at, pages, new_pages, to } => {
                (record.call, record.length_bytes) = (mapping_call::MREMAP, bytes(new_pages));
                (record.argument, record.argument2) = (address(at), bytes(pages));
                record.flags = MREMAP_MAYMOVE | MREMAP_FIXED;
                let (at, pages, new, to) = (address(at), bytes(pages), bytes(new_pages), address(to));
                format!("r {at:x} {pages:x} {new:x} {:x} {to:x}", record.flags)
            }
            Call::Break { bytes } => {
                record.call = mapping_call::BRK;
                format!("b {:x} 0 0 0 0", self.initial_break + bytes)
            }
        };
        let result = self.call(&line);
        if result < 0 {
            return;
        }
        let result = result.cast_unsigned();
        let end = |start: u64| start + record.length_bytes.next_multiple_of(PAGE_BYTES);
        match call {
            Call::Map { .. } | Call::MapFixed { .. } => {
                record.address = result;
                self.model.map(result, end(result), stack);
            }
            Call::Unmap { .. } => self.model.unmap(record.address, end(record.address)),
            Call::Protect { .. } => {}
            Call::Resize { .. } | Call::Move { .. } => {
                record.address = result;
                self.model.remap(record.argument, record.argument2, result, record.length_bytes);
            }
            // Compared with the kernel alone.
            Call::Break { .. } => record.address = result,
        }
        self.mappings.apply(&record, false);
    }

    /// The model, the session and the kernel agree.
    fn compare(&self) {
        let kernel = mapping::read(self.process.pid()).expect("its mappings");
        let is_mapped = |page: u64| kernel.iter().any(|mapping| (mapping.start..mapping.end).contains(&page));
        for page in (self.space..self.space + PAGES * PAGE_BYTES).step_by(PAGE_BYTES as usize) {
            let booked = self.mappings.mapped_by(page, page + PAGE_BYTES);
            let booked = booked.first().map(|(stack, _)| stack.0);
            assert_eq!(booked, self.model.owner(page), "the owner of {page:#x}");
            assert_eq!(booked.is_some(), is_mapped(page), "{page:#x} is mapped");
        }
        for page in self.model.pages.keys() {
            assert!(is_mapped(*page), "{page:#x} was mapped anywhere");
        }
        let heap = kernel.iter().find(|mapping| mapping.path == "[heap]");
        let heap_end = heap.map_or(self.initial_break, |mapping| mapping.end);
        let of_break = |kind: MappingKind| kind == MappingKind::Brk;
        let mut heap_bytes = 0;
        let mut live: BTreeMap<u64, u64> = BTreeMap::new();
        for (&(StackId(stack), kind), totals) in self.mappings.totals() {
            let bytes = totals.allocated_bytes - totals.freed_bytes;
            if of_break(kind) {
                heap_bytes += bytes
            } else {
                *live.entry(stack).or_default() += bytes
            }
            if !of_break(kind) {
                let allocated = self.model.allocated.get(&stack).copied().unwrap_or(0);
                assert_eq!(totals.allocated_bytes, allocated, "mapped by {stack}");
            }
        }
        assert_eq!(
            heap_bytes,
            heap_end - self.initial_break.next_multiple_of(PAGE_BYTES),
            "the program break"
        );
        let mut owned: BTreeMap<u64, u64> = BTreeMap::new();
        self.model.pages.values().for_each(|owner| *owned.entry(*owner).or_default() += PAGE_BYTES);
        live.retain(|_, bytes| *bytes > 0);
        assert_eq!(live, owned, "what is left of each");
    }
}

#[test]
fn random_calls_are_booked_as_the_kernel_does_them() {
    let cases = 300;
    let mut runner = TestRunner::new(Config { cases, failure_persistence: None, ..Config::default() });
    let outcome = runner.run(&calls(), |calls| {
        let mut replay = Replay::start();
        for (stack, call) in (1..).zip(calls) {
            replay.make(call, stack);
            replay.compare();
        }
        Ok(())
    });
    outcome.unwrap_or_else(|failure| panic!("{failure}"));
}
