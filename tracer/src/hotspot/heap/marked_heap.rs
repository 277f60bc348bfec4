//! A heap that was marked, as its users ask for it: fields of objects, how they are reached, and counts of classes.
//!
//! Paths are in `path`, which adds them to [`MarkedHeap`].

use std::collections::{HashMap, HashSet};
use std::ops::Range;
use std::rc::Rc;
use std::sync::Arc;

use super::class::{ClassId, Kind, Strength};
use super::class_table::ClassTable;
use super::copy::HeapCopy;
use super::long_arrays::is_long_array;
use super::marks::{Marks, Quality, Reach};
use super::path::Step;
use super::walk::{self, Walked};

/// Mark of the offset of a static field, which lies in the class's `java.lang.Class`.
const STATIC: u32 = 1 << 31;

/// Is the field at this offset, as [`MarkedHeap::each_long`] gives it, a static one?
pub fn is_static(offset: u32) -> bool {
    offset & STATIC != 0
}

/// A heap that was marked.
pub struct MarkedHeap<'a, 'b> {
    pub(super) copy: &'a HeapCopy,
    pub(super) classes: &'a mut ClassTable<'b>,
    pub(super) marks: Marks,
    /// Objects of threads.
    pub(super) threads: Vec<u64>,
    unallocated: Vec<Range<u64>>,
    pub(super) field_names: HashMap<(ClassId, u64), Option<Arc<str>>>,
    pub(super) class_names: HashMap<ClassId, Arc<str>>,
    /// Indices of the `long[]` that were reached.
    pub(super) long_arrays: Vec<usize>,
    /// Paths by index in the order of marking.
    pub(super) paths: HashMap<usize, Rc<[Step]>>,
}

impl std::fmt::Debug for MarkedHeap<'_, '_> {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("MarkedHeap").field("marks", &self.marks).finish_non_exhaustive()
    }
}

/// An object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Object {
    pub address: u64,
    pub class: ClassId,
    /// Index in the order of marking; none if nothing leads to it.
    pub index: Option<usize>,
}

impl<'a, 'b> MarkedHeap<'a, 'b> {
    /// A marked heap. `threads` are the objects of threads; in `unallocated` are no objects.
    pub(super) fn new(
        copy: &'a HeapCopy,
        classes: &'a mut ClassTable<'b>,
        marks: Marks,
        threads: Vec<u64>,
        unallocated: Vec<Range<u64>>,
    ) -> Self {
        Self {
            copy,
            classes,
            marks,
            threads,
            unallocated,
            field_names: HashMap::new(),
            class_names: HashMap::new(),
            long_arrays: Vec::new(),
            paths: HashMap::new(),
        }
    }

    /// Quality of what was copied.
    pub fn quality(&self) -> Quality {
        self.marks.quality
    }

    /// Calls `visit` with every `long` of every object that is not 0 (the object, the field's offset, the value): of
    /// those that were reached, then of those that were not. A class that was reached has its static fields.
    pub fn each_long(&mut self, visit: &mut dyn FnMut(Object, u32, u64)) -> Walked {
        let mut longs = Longs { copy: self.copy, offsets: Vec::new(), long_arrays: Vec::new(), visit };
        for index in 0..self.marks.count() {
            let Some(address) = self.marks.object(index) else { break };
            if let Some(class) = self.classes.of_object(self.copy, address) {
                longs.show(self.classes, Object { address, class, index: Some(index) });
            }
        }
        self.long_arrays = std::mem::take(&mut longs.long_arrays);
        let marks = &self.marks;
        walk::walk(self.copy, self.classes, &self.unallocated, &mut |classes, address, class| {
            if !marks.is_marked(address) {
                longs.show(classes, Object { address, class, index: None });
            }
        })
    }

    /// Strength with which the object with this index is reached.
    pub fn reach(&self, index: usize) -> Reach {
        self.marks.reach(index)
    }

    /// The name of the field at `offset`, as [`MarkedHeap::each_long`] gives it.
    pub fn field(&mut self, class: ClassId, offset: u32) -> Option<Arc<str>> {
        match is_static(offset) {
            true => self.static_name(class, offset & !STATIC),
            false => self.field_name(class, offset.into()),
        }
    }

    /// Referent of an object that waits for the end of another (a `PhantomReference`, with a field of its own);
    /// `Some(0)` if it is gone. `None` for all other objects.
    pub fn waits_for(&self, object: u64, class: ClassId) -> Option<u64> {
        let reference = self.classes.get(class)?.reference.as_ref()?;
        if reference.strength != Strength::Phantom {
            return None;
        }
        self.classes.shape.reference(self.copy, object + u64::from(reference.referent))
    }

    /// Indices of these objects in the order of marking, as far as they were reached.
    pub fn indices(&self, objects: &HashSet<u64>) -> HashMap<u64, usize> {
        if objects.is_empty() {
            return HashMap::new();
        }
        let index = |index| Some((self.marks.object(index)?, index));
        (0..self.marks.count()).filter_map(index).filter(|(object, _)| objects.contains(object)).collect()
    }

    /// Number of objects of each class that were reached, by the JVM's own names of classes.
    pub fn class_counts(&mut self) -> HashMap<String, ClassCount> {
        let mut counts: HashMap<ClassId, ClassCount> = HashMap::new();
        for index in 0..self.marks.count() {
            let Some(object) = self.marks.object(index) else { break };
            if let Some(class) = self.classes.of_object(self.copy, object) {
                let count = counts.entry(class).or_default();
                count.all += 1;
                count.by_stacks += u64::from(self.marks.reach(index) == Reach::Stack);
            }
        }
        let mut named: HashMap<String, ClassCount> = HashMap::new();
        for (class, count) in counts {
            let name = self.classes.get(class).map(|class| class.name.clone()).unwrap_or_default();
            let sum = named.entry(name).or_default();
            sum.all += count.all;
            sum.by_stacks += count.by_stacks;
        }
        named
    }
}

/// Objects of a class that were reached.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ClassCount {
    pub all: u64,
    /// Objects reached only by words of stacks and registers, which may be left over.
    pub by_stacks: u64,
}

/// What is shown of the objects of a class.
#[derive(Clone)]
enum Shown {
    /// The `long` fields at these offsets.
    Fields(Rc<[u32]>),
    /// Fields of the `java.lang.Class`, and the static ones of its class.
    Mirror,
    /// Its elements, later.
    LongArray,
}

/// Shows the `long` fields of objects.
struct Longs<'a> {
    copy: &'a HeapCopy,
    /// Offsets of the `long` fields in instances, by class.
    offsets: Vec<Option<Shown>>,
    /// Indices of the `long[]` that were met.
    long_arrays: Vec<usize>,
    visit: &'a mut dyn FnMut(Object, u32, u64),
}

impl Longs<'_> {
    #[inline]
    fn show(&mut self, classes: &ClassTable<'_>, object: Object) {
        let index = object.class.index();
        let shown = match self.offsets.get(index) {
            Some(Some(shown)) => shown.clone(),
            _ => self.learn(classes, object.class),
        };
        match (shown, object.index) {
            (Shown::Fields(offsets), _) => self.show_fields(object, &offsets, 0),
            (Shown::LongArray, Some(index)) => self.long_arrays.push(index),
            (Shown::Mirror, Some(_)) => {
                self.show_fields(object, &self.longs(classes, object.class, false), 0);
                self.show_statics(classes, object);
            }
            (Shown::LongArray | Shown::Mirror, None) => {}
        }
    }

    #[inline]
    fn show_fields(&mut self, object: Object, offsets: &[u32], mark: u32) {
        for offset in offsets {
            match self.copy.word(object.address + u64::from(*offset)) {
                None | Some(0) => {}
                Some(value) => (self.visit)(object, *offset | mark, value),
            }
        }
    }

    /// The static fields of the class whose `java.lang.Class` is `mirror`.
    fn show_statics(&mut self, classes: &ClassTable<'_>, mirror: Object) {
        let klass = self.copy.word(mirror.address + classes.mirror.klass).filter(|klass| *klass != 0);
        // A class of which no object was met was met when its statics were followed.
        if let Some(class) = klass.and_then(|klass| classes.known_at(klass)) {
            let offsets = self.longs(classes, class, true);
            self.show_fields(Object { class, ..mirror }, &offsets, STATIC);
        }
    }

    /// Offsets of the `long` fields of a class.
    fn longs(&self, classes: &ClassTable<'_>, class: ClassId, is_static: bool) -> Rc<[u32]> {
        // Static fields of classes above are in those classes.
        let declared = match is_static {
            true => classes.own_fields(class),
            false => classes.fields(class).into_iter().map(|(_, field)| field).collect(),
        };
        let longs = declared.iter().filter(|field| field.signature == "J" && field.is_static == is_static);
        longs.map(|field| field.offset).collect()
    }

    #[cold]
    fn learn(&mut self, classes: &ClassTable<'_>, class: ClassId) -> Shown {
        let shown = match classes.get(class).map(|class| class.kind) {
            Some(Kind::Mirror { .. }) => Shown::Mirror,
            _ if is_long_array(classes, class) => Shown::LongArray,
            _ => Shown::Fields(self.longs(classes, class, false)),
        };
        let index = class.index();
        if self.offsets.len() <= index {
            self.offsets.resize(index + 1, None);
        }
        if let Some(place) = self.offsets.get_mut(index) {
            *place = Some(shown.clone());
        }
        shown
    }
}
