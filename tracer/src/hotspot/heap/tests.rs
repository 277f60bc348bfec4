//! Marks, walks and paths over made heaps, and over heaps that lie.

use std::collections::HashMap;
use std::ops::Range;

use proptest::prelude::*;

use super::class::{DeclaredField, MirrorFields, RawClass, ReadClass, ReferenceBlock};
use super::class_table::ClassTable;
use super::copy::{HeapCopy, Space, SpaceKind};
use super::large_arrays::{LargeArrays, whole_pages};
use super::mark::mark;
use super::roots::{LoaderRoots, Roots, StorageRoots, ThreadRoots};
use super::shape::{ClassPointer, Shape};
use super::walk::walk;
use super::{MarkedHeap, Reach, Step, StepKind};
use crate::hotspot::oops::Compression;
use crate::process::memory::ImageMemory;
use crate::process::pagemap::{AllResident, AllSwapped, Residency, ResidentMemory};

const BASE: u64 = 0x7_0000_0000;
const CLASSES: u64 = 0x8_0000_0000;
const BOOT: u64 = 0x10_0000;
const APP: u64 = 0x20_0000;
const MIRROR: MirrorFields = MirrorFields { size: 12, static_count: 16, klass: 24 };

/// Classes by name, in the order of their addresses.
const NAMES: [&str; 13] = [
    "java/lang/Object",
    "java/lang/Class",
    "app/Node",
    "app/Owner",
    "[Ljava/lang/Object;",
    "[J",
    "java/lang/ref/Reference",
    "java/lang/ref/SoftReference",
    "java/lang/ref/WeakReference",
    "java/lang/ref/PhantomReference",
    "java/lang/ref/FinalReference",
    "app/Cleaner",
    "jdk/internal/vm/StackChunk",
];

fn class(name: &str) -> u64 {
    let index = NAMES.iter().position(|known| *known == name).expect("a known class");
    CLASSES + 0x100 * (index as u64 + 1)
}

struct Made;

impl ReadClass for Made {
    fn read(&self, address: u64) -> Option<RawClass> {
        let name = *NAMES.iter().find(|name| class(name) == address)?;
        let array = |kind: u32, log2: u32| (kind << 30 | 16 << 16 | log2).cast_signed();
        let object = class("java/lang/Object");
        let reference = class("java/lang/ref/Reference");
        // A reference's own fields: referent 12, queue 16, next 20, discovered 24.
        let (layout_helper, super_class, references) = match name {
            "java/lang/Object" => (16, 0, vec![]),
            "java/lang/Class" => (40, object, vec![(32, 1)]),
            "app/Node" => (24, object, vec![(12, 2)]),
            "app/Owner" => (24, object, vec![]),
            "[Ljava/lang/Object;" => (array(2, 2), object, vec![]),
            "[J" => (array(3, 3), object, vec![]),
            "java/lang/ref/Reference" => (0, object, vec![(16, 2)]),
            "app/Cleaner" => (40, class("java/lang/ref/PhantomReference"), vec![(16, 2), (28, 2)]),
            "jdk/internal/vm/StackChunk" => (24, object, vec![(20, 1)]),
            _ => (32, reference, vec![(16, 2)]),
        };
        let loader = if name.starts_with("app") { APP } else { BOOT };
        let references: Vec<(u32, u32)> = references;
        let block = |(offset, count)| ReferenceBlock { offset, count };
        let references = references.into_iter().map(block).collect();
        Some(RawClass { name: name.to_owned(), layout_helper, super_class, loader, references })
    }

    fn fields(&self, address: u64) -> Vec<DeclaredField> {
        let fields: &[(&str, &str, u32, bool)] = match NAMES.iter().find(|name| class(name) == address) {
            Some(&"java/lang/ref/Reference") => &[
                ("referent", "Ljava/lang/Object;", 12, false),
                ("queue", "Ljava/lang/ref/ReferenceQueue;", 16, false),
                ("next", "Ljava/lang/ref/Reference;", 20, false),
                ("discovered", "Ljava/lang/ref/Reference;", 24, false),
            ],
            Some(&"app/Cleaner") => {
                &[("action", "Ljava/lang/Runnable;", 28, false), ("prev", "Lapp/Cleaner;", 32, false)]
            }
            Some(&"app/Node") => &[
                ("left", "Lapp/Node;", 12, false),
                ("right", "Ljava/lang/Object;", 16, false),
                ("ROOT", "Lapp/Node;", 40, true),
            ],
            Some(&"app/Owner") => &[("address", "J", 16, false)],
            Some(&"jdk/internal/vm/StackChunk") => &[("size", "I", 12, false), ("sp", "I", 16, false)],
            _ => &[],
        };
        let field = |&(name, signature, offset, is_static): &(&str, &str, u32, bool)| DeclaredField {
            name: name.to_owned(),
            signature: signature.to_owned(),
            offset,
            is_static,
        };
        fields.iter().map(field).collect()
    }
}

fn shape() -> Shape {
    Shape {
        references: Some(Compression { base: 0, shift: 3 }),
        class: ClassPointer::Narrow(Compression { base: CLASSES, shift: 0 }),
        array_length: 12,
        alignment: 8,
    }
}

/// A heap that is put together.
#[derive(Default)]
struct Heap {
    bytes: Vec<u8>,
    roots: Roots,
}

impl Heap {
    fn narrow(address: u64) -> u32 {
        (address >> 3) as u32
    }

    fn half(&mut self, address: u64, value: u32) {
        let at = (address - BASE) as usize;
        self.bytes[at..at + 4].copy_from_slice(&value.to_le_bytes());
    }

    fn word(&mut self, address: u64, value: u64) {
        self.half(address, value as u32);
        self.half(address + 4, (value >> 32) as u32);
    }

    /// An object of `bytes`.
    fn object(&mut self, name: &str, bytes: usize) -> u64 {
        let address = BASE + self.bytes.len() as u64;
        self.bytes.resize(self.bytes.len() + bytes, 0);
        self.word(address, 1);
        self.half(address + 8, (class(name) - CLASSES) as u32);
        address
    }

    fn set(&mut self, object: u64, offset: u64, target: u64) {
        self.half(object + offset, Self::narrow(target));
    }

    fn owner(&mut self) -> u64 {
        let owner = self.object("app/Owner", 24);
        self.word(owner + 16, 0x7f00_0000_1000 + owner);
        owner
    }

    fn node(&mut self, left: u64, right: u64) -> u64 {
        let node = self.object("app/Node", 24);
        self.set(node, 12, left);
        self.set(node, 16, right);
        node
    }

    fn array(&mut self, elements: &[u64]) -> u64 {
        let array = self.object("[Ljava/lang/Object;", (16 + 4 * elements.len()).next_multiple_of(8));
        self.half(array + 12, elements.len() as u32);
        for (index, element) in (0..).zip(elements) {
            self.set(array, 16 + 4 * index, *element);
        }
        array
    }

    fn reference(&mut self, name: &str, referent: u64) -> u64 {
        let reference = self.object(name, if name == "app/Cleaner" { 40 } else { 32 });
        self.set(reference, 12, referent);
        reference
    }

    /// The `java.lang.Class` of a class, with a static field.
    fn mirror(&mut self, name: &str, value: u64) -> u64 {
        let mirror = self.object("java/lang/Class", 48);
        self.half(mirror + 12, 6);
        self.half(mirror + 16, 1);
        self.word(mirror + 24, class(name));
        self.set(mirror, 40, value);
        mirror
    }

    fn held_by_jni(&mut self, objects: &[u64]) {
        let objects = objects.to_vec();
        self.roots.storages.push(StorageRoots { name: "JNI Global".to_owned(), weak: false, objects });
    }

    fn look<T>(mut self, then: impl FnOnce(&mut MarkedHeap<'_, '_>) -> T) -> T {
        let top = BASE + self.bytes.len() as u64;
        let copy = HeapCopy::made(&[Space { bottom: BASE, top, kind: SpaceKind::Old }], &[self.bytes]);
        let source = Made;
        let mut classes = ClassTable::new(shape(), MIRROR, &source);
        let threads = self.roots.threads.iter().map(|thread| thread.object).collect();
        let unallocated = std::mem::take(&mut self.roots.unallocated);
        let marks = mark(&copy, &mut classes, self.roots).expect("memory");
        then(&mut MarkedHeap::new(&copy, &mut classes, marks, threads, unallocated))
    }
}

/// Strength and path of each object with a long, by address.
fn owners(look: &mut MarkedHeap<'_, '_>) -> HashMap<u64, (Option<Reach>, Vec<Step>)> {
    let mut found = Vec::new();
    look.each_long(&mut |object, offset, value| {
        assert_eq!((offset, value), (16, 0x7f00_0000_1000 + object.address));
        found.push(object);
    });
    let judged = found.into_iter().map(|object| {
        let path = object.index.map(|index| look.path(index).to_vec()).unwrap_or_default();
        (object.address, (object.index.map(|index| look.reach(index)), path))
    });
    judged.collect()
}

fn step(kind: StepKind, class: Option<&str>, name: Option<&str>) -> Step {
    Step { kind, class: class.map(Into::into), name: name.map(Into::into) }
}

#[test]
fn held_by_a_static_field_of_a_loaded_class() {
    let mut heap = Heap::default();
    let owner = heap.owner();
    let array = heap.array(&[0, owner]);
    let inner = heap.node(0, array);
    let outer = heap.node(inner, 0);
    let mirror = heap.mirror("app/Node", outer);
    // Its loader is reached by an object of one of its classes.
    let first = heap.node(0, 0);
    let loader = LoaderRoots { address: APP, object: 0x1, is_holder: false, handles: vec![mirror] };
    heap.roots.loaders =
        vec![LoaderRoots { address: BOOT, handles: vec![first], ..LoaderRoots::default() }, loader];
    heap.look(|look| {
        let (reach, path) = owners(look).remove(&owner).expect("an owner");
        assert_eq!(reach, Some(Reach::Held));
        // Two nodes behind each other are one step.
        let expected = [
            step(StepKind::Static, Some("app.Node"), Some("ROOT")),
            step(StepKind::Field, Some("app.Node"), Some("right")),
            step(StepKind::Element, Some("java.lang.Object[]"), None),
        ];
        assert_eq!(path, expected);
        assert_eq!((look.quality().unknown, look.quality().outside), (0, 0));
    });
}

#[test]
fn loaders_that_nothing_leads_to_hold_nothing() {
    let mut heap = Heap::default();
    let owner = heap.owner();
    let node = heap.node(0, owner);
    let mirror = heap.mirror("app/Node", node);
    let handles = vec![mirror];
    heap.roots.loaders = vec![LoaderRoots { address: APP, object: 0x1, is_holder: false, handles }];
    heap.look(|look| assert_eq!(owners(look)[&owner].0, None));
}

#[test]
fn garbage_in_cycles_and_weak_references_is_not_reached() {
    let mut heap = Heap::default();
    let (owner, weakly) = (heap.owner(), heap.owner());
    let one = heap.node(0, owner);
    let two = heap.node(one, 0);
    heap.set(one, 12, two);
    let weak = heap.reference("java/lang/ref/WeakReference", weakly);
    heap.held_by_jni(&[weak]);
    heap.look(|look| {
        let owners = owners(look);
        assert_eq!((owners[&owner].0, owners[&weakly].0), (None, None));
    });
}

#[test]
fn cleaners_hold_their_actions_as_their_referents_are_held() {
    let mut heap = Heap::default();
    let (used, garbage, finalizable, softly) = (heap.owner(), heap.owner(), heap.owner(), heap.owner());
    let held = heap.node(0, 0);
    let dropped = heap.node(0, 0);
    let first = heap.reference("app/Cleaner", held);
    let second = heap.reference("app/Cleaner", dropped);
    heap.set(first, 28, used);
    heap.set(second, 28, garbage);
    // Cleaners are linked to each other.
    heap.set(first, 32, second);
    let finalizer = heap.reference("java/lang/ref/FinalReference", finalizable);
    let soft = heap.reference("java/lang/ref/SoftReference", softly);
    heap.held_by_jni(&[first, finalizer, soft, held]);
    heap.look(|look| {
        let owners = owners(look);
        assert_eq!(owners[&used].0, Some(Reach::Held));
        // Not by the cleaner, but by what it waits for.
        let expected = [step(StepKind::Jni, None, None), step(StepKind::Internal, None, Some("its cleaner"))];
        assert_eq!(owners[&used].1, expected);
        assert_eq!(owners[&garbage].0, Some(Reach::Collectable));
        assert_eq!(owners[&finalizable].0, Some(Reach::Collectable));
        assert_eq!(owners[&softly].0, Some(Reach::Soft));
        let referent = step(StepKind::Field, Some("java.lang.ref.SoftReference"), Some("referent"));
        assert_eq!(owners[&softly].1.last(), Some(&referent));
    });
}

#[test]
fn words_of_stacks_explain_what_nothing_else_does() {
    let mut heap = Heap::default();
    let (known, wide, low, high, stale) =
        (heap.owner(), heap.owner(), heap.owner(), heap.owner(), heap.owner());
    let chunk = heap.object("jdk/internal/vm/StackChunk", 24 + 8 * 3);
    let virtually = heap.owner();
    // Three words, of which the last is below the stack pointer's.
    heap.half(chunk + 12, 2);
    heap.half(chunk + 16, 1);
    heap.word(chunk + 24, stale);
    heap.word(chunk + 32, virtually);
    heap.held_by_jni(&[known, chunk]);
    let halves = u64::from(Heap::narrow(low)) | u64::from(Heap::narrow(high)) << 32;
    let stack = vec![known, wide, wide + 1, 0, u64::MAX, BASE - 8];
    heap.roots.threads = vec![ThreadRoots { stack, registers: vec![halves], ..ThreadRoots::default() }];
    heap.look(|look| {
        let owners = owners(look);
        assert_eq!(owners[&known].0, Some(Reach::Held));
        for object in [wide, low, high, virtually] {
            assert_eq!(owners[&object].0, Some(Reach::Stack));
        }
        assert_eq!(owners[&stale].0, None);
        assert_eq!(owners[&wide].1, [step(StepKind::Stack, None, None)]);
    });
}

/// The lower half of an address that leads somewhere is no reference, and that of any other word may be one.
#[test]
fn an_address_is_not_two_references() {
    let mut heap = Heap::default();
    let (native, other, number) = (heap.owner(), heap.owner(), heap.owner());
    let words = |object, high: u64| high << 32 | u64::from(Heap::narrow(object));
    let stack = vec![words(native, 0x7f12), words(other, 0x7f13), words(number, 7)];
    heap.roots.mapped = std::iter::once(0x7f12_0000_0000..0x7f13_0000_0000).collect();
    heap.roots.threads = vec![ThreadRoots { stack, ..ThreadRoots::default() }];
    heap.look(|look| {
        let owners = owners(look);
        let reached = [native, other, number].map(|object| owners[&object].0);
        assert_eq!(reached, [None, Some(Reach::Stack), Some(Reach::Stack)]);
    });
}

/// Arrays of numbers are noted as far as objects follow each other, through a window that is smaller than they are.
#[test]
fn large_arrays_are_noted() {
    let mut heap = Heap::default();
    let mut expected = Vec::new();
    let numbers = |heap: &mut Heap, length: u32| {
        let array = heap.object("[J", 16 + 8 * length as usize);
        heap.half(array + 12, length);
        array
    };
    for length in [10, 5_000, 100_000, 4_000, 9_000] {
        heap.owner();
        let array = numbers(&mut heap, length);
        let interior = whole_pages(array + 16..array + 16 + 8 * u64::from(length));
        expected.extend(interior.filter(|pages| pages.end - pages.start >= 32 << 10));
        heap.array(&vec![0; 20_000]);
    }
    let unknown = heap.owner();
    heap.half(unknown + 8, 0x00ff_fff0);
    numbers(&mut heap, 100_000);
    let space = Space { bottom: BASE, top: BASE + heap.bytes.len() as u64, kind: SpaceKind::Old };
    let image = ImageMemory::new(vec![(BASE, heap.bytes)]);
    let source = Made;
    let noted = |residency: &dyn Residency| {
        let mut classes = ClassTable::new(shape(), MIRROR, &source);
        LargeArrays::of(&ResidentMemory::new(&image, residency), &[space], &mut classes).expect("memory")
    };
    let arrays = noted(&AllResident);
    let found = |space| arrays.interiors(&[space]).collect::<Vec<_>>();
    assert_eq!(expected.len(), 3);
    assert_eq!(found(space), expected);
    // Where the space has become another, or smaller, they are not.
    assert_eq!(found(Space { kind: SpaceKind::Young, ..space }), []);
    assert_eq!(found(Space { top: expected[1].end, ..space }), expected[..1]);
    assert_eq!(noted(&AllSwapped).interiors(&[space]).count(), 0);
}

/// What was left out of the copy must be in an array of numbers that the walk comes to.
#[test]
fn what_was_not_copied_is_proved_by_the_walk() {
    let made = |dead: bool| {
        let mut heap = Heap::default();
        heap.owner();
        if dead {
            // Of a class that was unloaded.
            let unknown = heap.owner();
            heap.half(unknown + 8, 0x00ff_fff0);
        }
        let numbers = heap.object("[J", 16 + 8 * 4096);
        heap.half(numbers + 12, 4096);
        let references = heap.array(&vec![0; 4096]);
        (heap, numbers, references)
    };
    let unproved = |dead: bool, part: fn(u64, u64) -> Range<u64>| {
        let (heap, numbers, references) = made(dead);
        let bytes = heap.bytes.clone();
        let top = BASE + bytes.len() as u64;
        let mut copy = HeapCopy::made(&[Space { bottom: BASE, top, kind: SpaceKind::Old }], &[bytes]);
        copy.assume(std::iter::once(part(numbers, references)).collect());
        let source = Made;
        let mut classes = ClassTable::new(shape(), MIRROR, &source);
        walk(&copy, &mut classes, &[], &mut |_, _, _| {}).unproved
    };
    assert_eq!(unproved(false, |numbers, _| numbers + 16..numbers + 32768), 0);
    assert_eq!(unproved(false, |numbers, _| numbers + 8..numbers + 32768), 1);
    assert_eq!(unproved(false, |numbers, references| numbers + 16..references + 8), 1);
    assert_eq!(unproved(false, |_, references| references + 16..references + 4096), 1);
    assert_eq!(unproved(false, |_, references| references + (1 << 20)..references + (1 << 21)), 1);
    // Where objects do not follow each other from the beginning on, nothing is certain.
    assert_eq!(unproved(true, |numbers, _| numbers + 16..numbers + 32768), 1);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Heaps and roots of any content: an end, and no panic.
    #[test]
    fn heaps_that_lie(
        noise in prop::collection::vec((any::<u16>(), any::<u64>(), 0_u8..4), 1..200),
        stack in prop::collection::vec(any::<u64>(), 0..64),
    ) {
        let mut heap = Heap::default();
        let mut objects = Vec::new();
        for index in 0..40 {
            let owner = heap.owner();
            let node = heap.node(owner, objects.last().copied().unwrap_or(0));
            let cleaner = heap.reference("app/Cleaner", node);
            heap.set(cleaner, 28, owner);
            let chunk = heap.object("jdk/internal/vm/StackChunk", 24 + 8 * 4);
            heap.half(chunk + 12, 4);
            let mirror = heap.mirror("app/Node", node);
            let array = heap.array(&[owner, node, cleaner, chunk, mirror]);
            objects.extend([node, cleaner, array]);
            if index % 7 == 0 {
                heap.held_by_jni(&[array, chunk, mirror]);
            }
        }
        let length = heap.bytes.len() as u64;
        for (at, value, kind) in noise {
            let at = BASE + u64::from(at) * 4 % (length - 8);
            match kind {
                0 => heap.word(at, value),
                // References to anywhere in the heap, classes, lengths.
                1 => heap.half(at, Heap::narrow(BASE + value % length)),
                2 => heap.half(at, (value % 0x1000) as u32),
                _ => heap.half(at, u32::MAX),
            }
        }
        let stack = stack.into_iter().map(|word| BASE + word % (2 * length)).collect();
        heap.roots.threads = vec![ThreadRoots { stack, object: BASE + 8, ..ThreadRoots::default() }];
        heap.roots.unallocated = vec![BASE + 64..BASE + 128, BASE + 100..u64::MAX / 2];
        heap.look(|look| {
            let mut found = Vec::new();
            look.each_long(&mut |object, _, _| found.push(object));
            for object in found {
                if let Some(index) = object.index {
                    prop_assert!(look.path(index).len() <= 25);
                }
                look.waits_for(object.address, object.class);
            }
            Ok(())
        })?;
    }
}
