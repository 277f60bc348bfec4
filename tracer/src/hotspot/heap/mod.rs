//! The Java heap, read from outside: which objects there are, which of them are reachable, and from where.
//!
//! Takes the JVM's description of itself; gives the used spaces, a local copy of them, the roots, and a mark over the
//! copy ([`Look`]). Copy and roots must be of one moment: whoever asks holds the target meanwhile, or knows that no
//! collection came between. Object contents stay here: only names of classes, fields and threads go out. JDK 11, 17, 21
//! and 25 with G1, Parallel and Serial; anything else is refused, because nobody has compared it with the JVM's own
//! collection.

mod classes;
mod copy;
mod layout;
mod mark;
mod path;
mod roots;
mod spaces;
#[cfg(test)]
mod tests;
mod walk;

use std::collections::{HashMap, HashSet};
use std::rc::Rc;
use std::sync::Arc;

pub use self::classes::{ClassId, DeclaredField};
pub use self::copy::{HeapCopy, Space, SpaceKind, Spaces, used_bytes};
pub(super) use self::layout::HeapLayout;
pub use self::mark::{Quality, Reach};
pub use self::path::{Step, StepKind};
pub use self::roots::Roots;
pub use self::spaces::Collections;

use self::classes::{ClassPointer, ClassTable, MirrorFields, RawClass, ReadClass, Shape, Strength};
use self::mark::Marks;
use self::roots::Places;
use super::Hotspot;
use super::books::HeapUseLayout;
use super::fields;
use super::layout::{Layout, ObjectLayout, RangesLayout, ThreadLayout};
use super::method;
use super::oops::Objects;
use super::pages::Pages;
use super::read::{ReadError, Reader, pointer};
use crate::process::mapping::Mapping;
use crate::process::memory::ProcessMemory;

/// Versions and collectors that are compared with the JVM's own collections by tests.
const VERSIONS: [u32; 4] = [11, 17, 21, 25];
const COLLECTORS: [&str; 3] = ["G1", "Parallel", "Serial"];
/// Classes of one JVM.
const MAX_CLASSES: usize = 1 << 22;
/// Blocks of references in one class.
const MAX_BLOCKS: u64 = 1 << 12;
const MAX_TABLE_WORDS: u64 = 1 << 20;
const DEFAULT_RESERVE_WORDS: u64 = 2;
const WORD_BYTES: u64 = 8;

/// Reason why a heap cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HeapError {
    /// Nobody has proved that heaps of such JVMs are read right.
    #[error("{0}")]
    NotProved(String),
    /// Memory that was read makes no sense.
    #[error("the JVM's memory made no sense: {0}")]
    Unreadable(String),
    /// There is no memory for the mark.
    #[error("no memory: {0}")]
    NoMemory(String),
}

impl HeapError {
    fn missing(what: &str) -> Self {
        Self::NotProved(format!("this JVM does not describe {what}"))
    }
}

impl From<ReadError> for HeapError {
    fn from(error: ReadError) -> Self {
        Self::Unreadable(error.to_string())
    }
}

/// The heap of one JVM.
pub struct HeapAccess<'a> {
    reader: Reader<'a>,
    memory: &'a dyn ProcessMemory,
    all: &'a Layout,
    layout: &'a HeapLayout,
    objects: &'a ObjectLayout,
    threads: &'a ThreadLayout,
    ranges: &'a RangesLayout,
    heap_use: &'a HeapUseLayout,
    gc: &'static str,
    feature: u32,
    shape: Shape,
    mirror: MirrorFields,
    /// Bytes behind a thread's buffer that are its own.
    buffer_reserve: u64,
    places: Places,
}

impl std::fmt::Debug for HeapAccess<'_> {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("HeapAccess").field("gc", &self.gc).finish_non_exhaustive()
    }
}

impl Hotspot {
    /// The way to its heap. `mappings` are the process's, sorted by start; `libjvm` is the path of the JVM's library as
    /// they have it.
    ///
    /// # Errors
    /// `NotProved`: this version or collector is not one whose heap is known to be read right.
    pub fn heap(&self, mappings: &[Mapping], libjvm: &str) -> Result<HeapAccess<'_>, HeapError> {
        let feature = self.feature_version();
        if !VERSIONS.contains(&feature) {
            return Err(HeapError::NotProved(format!(
                "the heap of JDK {feature} is not read: known are JDK 11, 17, 21 and 25"
            )));
        }
        let gc = self.gc().unwrap_or("an unknown collector");
        if !COLLECTORS.contains(&gc) {
            return Err(HeapError::NotProved(format!(
                "the heap of {gc} is not read: known are G1, Parallel and Serial"
            )));
        }
        let layout = match &self.layout.heap {
            Ok(layout) => layout,
            Err(missing) => return Err(HeapError::NotProved(missing.clone())),
        };
        let all = &self.layout;
        let objects = all.objects.as_ref().ok_or_else(|| HeapError::missing("its objects"))?;
        let threads = all.threads.as_ref().ok_or_else(|| HeapError::missing("its threads"))?;
        let known = self.objects.as_ref().ok_or_else(|| HeapError::missing("its objects"))?;
        let reader = self.reader();
        let offset = |address: u64| reader.u32(address).map(u64::from);
        let classes = &layout.classes;
        let mirror = MirrorFields {
            size: offset(classes.mirror_size)?,
            static_count: offset(classes.mirror_statics)?,
            klass: offset(classes.mirror_klass)?,
        };
        // It has four bytes from JDK 21 on.
        let alignment = self.flag_u64("ObjectAlignmentInBytes").map_or(WORD_BYTES, |flag| flag & 0xffff_ffff);
        if ![8, 16, 32, 64, 128, 256].contains(&alignment) {
            return Err(HeapError::missing("how its objects are aligned"));
        }
        let reserve =
            |address: Option<u64>| address.and_then(|address| reader.u32(address).ok()).map(u64::from);
        let words = reserve(layout.threads.reserve_prefetch)
            .unwrap_or(0)
            .max(reserve(layout.threads.reserve_alignment).unwrap_or(DEFAULT_RESERVE_WORDS));
        let mut access = HeapAccess {
            reader,
            memory: &*self.memory,
            all,
            layout,
            objects,
            threads,
            ranges: &all.ranges,
            heap_use: &all.books.heap,
            gc,
            feature,
            shape: shape(known, alignment),
            mirror,
            buffer_reserve: words.min(1 << 10) * WORD_BYTES,
            places: Places::default(),
        };
        access.places = access.find_places(mappings, libjvm)?;
        Ok(access)
    }
}

fn shape(objects: &Objects, alignment: u64) -> Shape {
    let (base, shift) = objects.compressed_classes().unwrap_or((0, 0));
    let class = match (objects.compact_shift(), objects.compressed_classes()) {
        (Some(bit), _) => ClassPointer::InMark { base, shift, bit },
        (None, Some(_)) => ClassPointer::Narrow { base, shift },
        (None, None) => ClassPointer::Wide,
    };
    Shape {
        references: objects.compressed_references(),
        class,
        array_length: objects.array_length_offset(),
        alignment,
    }
}

impl HeapAccess<'_> {
    /// The collector's name.
    pub fn gc(&self) -> &'static str {
        self.gc
    }

    /// Marks what `roots` lead to in `copy`, and shows the result to `then`.
    ///
    /// # Errors
    /// There is no memory for it.
    pub fn look<T>(
        &self,
        copy: &HeapCopy,
        mut roots: Roots,
        then: impl FnOnce(&mut Look<'_, '_>) -> T,
    ) -> Result<T, HeapError> {
        let pages = Pages::new(self.memory);
        let source = JvmClasses {
            access: self,
            reader: Reader::new(&pages),
            copy,
            handles: std::mem::take(&mut roots.handles),
            listed: self.listed().unwrap_or_default(),
        };
        let mut classes = ClassTable::new(self.shape, self.mirror, &source);
        let threads = roots.threads.iter().map(|thread| thread.object).collect();
        let unallocated = std::mem::take(&mut roots.unallocated);
        let marks =
            mark::mark(copy, &mut classes, roots).map_err(|error| HeapError::NoMemory(error.to_string()))?;
        let mut look = Look {
            copy,
            classes: &mut classes,
            marks,
            threads,
            unallocated,
            field_names: HashMap::new(),
            class_names: HashMap::new(),
            paths: HashMap::new(),
        };
        Ok(then(&mut look))
    }

    /// Every class that a loader lists: those without a `java.lang.Class` too.
    fn listed(&self) -> Result<HashSet<u64>, ReadError> {
        let layout = &self.layout.loaders;
        let mut listed = HashSet::new();
        let mut loaders = HashSet::new();
        let mut next = self.reader.u64(layout.head)?;
        while next != 0 && loaders.insert(next) && listed.len() < MAX_CLASSES {
            let loader = self.reader.record(next, layout.bytes)?;
            let mut class = loader.field(layout.classes)?;
            while class != 0 && pointer(class).is_ok() && listed.insert(class) && listed.len() < MAX_CLASSES {
                class = self.reader.field(class, layout.next_class).unwrap_or(0);
            }
            next = loader.field(layout.next)?;
        }
        Ok(listed)
    }
}

/// Classes as the JVM has them, each proved.
struct JvmClasses<'a> {
    access: &'a HeapAccess<'a>,
    reader: Reader<'a>,
    copy: &'a HeapCopy,
    handles: HashMap<u64, u64>,
    listed: HashSet<u64>,
}

impl JvmClasses<'_> {
    fn try_read(&self, address: u64) -> Result<RawClass, ReadError> {
        let (access, layout) = (self.access, &self.access.layout.classes);
        let class = self.reader.record(pointer(address)?, layout.instance_klass_bytes.min(464))?;
        let refused = Err(ReadError::BadPointer(address));
        let handle = class.field(layout.mirror)?;
        let mirror = self.handles.get(&handle).copied().unwrap_or(0);
        let leads_back =
            mirror != 0 && self.copy.word(mirror.wrapping_add(access.mirror.klass)) == Some(address);
        if !leads_back && !self.listed.contains(&address) {
            return refused;
        }
        let name = method::symbol(self.reader, &access.all.method, class.field(layout.name)?)?;
        let mut raw = RawClass {
            name,
            layout_helper: class.signed(layout.layout_helper)? as i32,
            super_class: class.field(layout.super_class)?,
            loader: class.field(layout.loader)?,
            references: Vec::new(),
        };
        if raw.layout_helper > 0 {
            let tables = class.field(layout.vtable_length)? + class.field(layout.itable_length)?;
            let count = class.field(layout.oop_map_words)?;
            if tables > MAX_TABLE_WORDS || count > MAX_BLOCKS {
                return refused;
            }
            let maps = address + layout.instance_klass_bytes + WORD_BYTES * tables;
            let maps = self.reader.bytes(maps, count * WORD_BYTES, (MAX_BLOCKS * WORD_BYTES) as usize)?;
            let half = |map: &[u8; 8], at: usize| {
                map.get(at..at + 4).and_then(|half| half.try_into().ok()).map_or(0, u32::from_le_bytes)
            };
            raw.references = maps.as_chunks::<8>().0.iter().map(|map| (half(map, 0), half(map, 4))).collect();
            let bytes = u64::from((raw.layout_helper & !7).cast_unsigned());
            let step = access.shape.reference_bytes();
            let fits = |(offset, count): &(u32, u32)| u64::from(*offset) + u64::from(*count) * step <= bytes;
            if !raw.references.iter().all(fits) {
                return refused;
            }
        }
        Ok(raw)
    }
}

impl ReadClass for JvmClasses<'_> {
    fn read(&self, address: u64) -> Option<RawClass> {
        self.try_read(address).ok()
    }

    fn fields(&self, address: u64) -> Vec<DeclaredField> {
        let declared = fields::declared(self.reader, self.access.all, self.access.objects, address);
        let field =
            |(name, signature, offset, is_static)| DeclaredField { name, signature, offset, is_static };
        declared.unwrap_or_default().into_iter().map(field).collect()
    }
}

/// A heap that was marked.
pub struct Look<'a, 'b> {
    copy: &'a HeapCopy,
    classes: &'a mut ClassTable<'b>,
    marks: Marks,
    /// Objects of threads.
    threads: Vec<u64>,
    unallocated: Vec<std::ops::Range<u64>>,
    field_names: HashMap<(ClassId, u64), Option<Arc<str>>>,
    class_names: HashMap<ClassId, Arc<str>>,
    /// By index in the order of marking.
    paths: HashMap<usize, Rc<[Step]>>,
}

impl std::fmt::Debug for Look<'_, '_> {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Look").field("marks", &self.marks).finish_non_exhaustive()
    }
}

/// An object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Object {
    pub address: u64,
    pub class: ClassId,
    /// In the order of marking; none if nothing leads to it.
    pub index: Option<usize>,
}

impl Look<'_, '_> {
    /// How far it made sense.
    pub fn quality(&self) -> Quality {
        self.marks.quality
    }

    /// Calls `visit` with every `long` of every object that is not 0 (the object, the field's offset, the value): of
    /// those that were reached, then of those that were not. Gives at how many places it could not be told where dead
    /// objects begin.
    pub fn each_long(&mut self, visit: &mut dyn FnMut(Object, u32, u64)) -> u64 {
        let mut longs = Longs { copy: self.copy, offsets: Vec::new(), visit };
        for index in 0..self.marks.count() {
            let Some(address) = self.marks.object(index) else { break };
            if let Some(class) = self.classes.of_object(self.copy, address) {
                longs.show(self.classes, Object { address, class, index: Some(index) });
            }
        }
        let marks = &self.marks;
        walk::walk(self.copy, self.classes, &self.unallocated, &mut |classes, address, class| {
            if !marks.is_marked(address) {
                longs.show(classes, Object { address, class, index: None });
            }
        })
    }

    /// How the object with this index is reached.
    pub fn reach(&self, index: usize) -> Reach {
        self.marks.reach(index)
    }

    /// The name of the field at `offset` of a class's instances.
    pub fn field(&mut self, class: ClassId, offset: u32) -> Option<Arc<str>> {
        self.field_name(class, offset.into())
    }

    /// For an object that waits for the end of another (a `PhantomReference`, with a field of its own): that object;
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
    /// Only by words of stacks and registers, which may be left over.
    pub by_stacks: u64,
}

/// Shows the `long` fields of objects.
struct Longs<'a> {
    copy: &'a HeapCopy,
    /// By class: where its instances have them.
    offsets: Vec<Option<Rc<[u32]>>>,
    visit: &'a mut dyn FnMut(Object, u32, u64),
}

impl Longs<'_> {
    #[inline]
    fn show(&mut self, classes: &ClassTable<'_>, object: Object) {
        let index = object.class.index();
        let offsets = match self.offsets.get(index) {
            Some(Some(offsets)) => offsets.clone(),
            _ => self.learn(classes, object.class),
        };
        for offset in offsets.iter() {
            match self.copy.word(object.address + u64::from(*offset)) {
                None | Some(0) => {}
                Some(value) => (self.visit)(object, *offset, value),
            }
        }
    }

    #[cold]
    fn learn(&mut self, classes: &ClassTable<'_>, class: ClassId) -> Rc<[u32]> {
        let fields = classes.fields(class).into_iter().map(|(_, field)| field);
        let longs = fields.filter(|field| field.signature == "J" && !field.is_static);
        let offsets: Rc<[u32]> = longs.map(|field| field.offset).collect();
        let index = class.index();
        if self.offsets.len() <= index {
            self.offsets.resize(index + 1, None);
        }
        if let Some(place) = self.offsets.get_mut(index) {
            *place = Some(offsets.clone());
        }
        offsets
    }
}
