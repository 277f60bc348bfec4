//! Classes of objects, as they are met: which class an object has, and how long it is.
//!
//! A class is read when its first object is met, and by whoever can prove it ([`ReadClass`]): in a JVM a class and
//! its `java.lang.Class` lead to each other. So a word that only looks like a class pointer is none, and classes
//! that were loaded a moment ago need no care. Lookups are by the class pointer as headers have it.

use std::collections::HashMap;
use std::ops::Range;
use std::rc::Rc;

use super::class::{
    Class, ClassId, DeclaredField, Kind, MirrorFields, RawClass, ReadClass, Reference, Strength,
};
use super::copy::HeapCopy;
use super::shape::Shape;

/// Superclasses of a class.
const MAX_DEPTH: usize = 256;
/// Class pointers that are none, remembered at most.
const MAX_UNKNOWN: usize = 1 << 20;
/// Flags of a positive layout helper; above them are the bytes of an instance.
const INSTANCE_FLAGS: i32 = 7;
const OBJECT_ARRAY: u32 = 2;
const WORD_BYTES: u64 = 8;

const MIRROR: &str = "java/lang/Class";
const STACK_CHUNK: &str = "jdk/internal/vm/StackChunk";
const REFERENCE: &str = "java/lang/ref/Reference";
const STRENGTHS: [(&str, Strength); 4] = [
    ("java/lang/ref/SoftReference", Strength::Soft),
    ("java/lang/ref/WeakReference", Strength::Weak),
    ("java/lang/ref/PhantomReference", Strength::Phantom),
    ("java/lang/ref/FinalReference", Strength::Final),
];
/// Types by which cleaners are linked to each other and to their queue: fields of these are no actions.
const LINKS: [&str; 2] = ["Ljava/lang/ref/", "Ljdk/internal/ref/"];
const OLD_CLEANER: &str = "Lsun/misc/Cleaner;";

/// Classes that were met.
pub(super) struct ClassTable<'a> {
    pub(super) shape: Shape,
    pub(super) mirror: MirrorFields,
    source: &'a dyn ReadClass,
    /// Open addressing: class pointer + 1, and what it is; 0: free.
    slots: Vec<(u64, Option<ClassId>)>,
    used: usize,
    unknown: usize,
    by_address: HashMap<u64, Option<ClassId>>,
    classes: Vec<Class>,
}

impl<'a> ClassTable<'a> {
    pub(super) fn new(shape: Shape, mirror: MirrorFields, source: &'a dyn ReadClass) -> Self {
        Self {
            shape,
            mirror,
            source,
            slots: vec![(0, None); 1 << 12],
            used: 0,
            unknown: 0,
            by_address: HashMap::new(),
            classes: Vec::new(),
        }
    }

    pub(super) fn get(&self, id: ClassId) -> Option<&Class> {
        self.classes.get(id.0 as usize)
    }

    /// The class of the object at `address`.
    #[inline]
    pub(super) fn of_object(&mut self, copy: &HeapCopy, address: u64) -> Option<ClassId> {
        let pointer = self.shape.pointer(copy, address)?;
        let mask = self.slots.len() - 1;
        let mut at = hash(pointer) & mask;
        loop {
            match self.slots.get(at) {
                Some((key, class)) if *key == pointer.wrapping_add(1) => return *class,
                Some((0, _)) | None => return self.insert(pointer),
                _ => at = (at + 1) & mask,
            }
        }
    }

    /// The class of the object at `address`, if it was met before.
    pub(super) fn known(&self, copy: &HeapCopy, address: u64) -> Option<ClassId> {
        self.known_at(self.shape.class(self.shape.pointer(copy, address)?))
    }

    /// The class at `address`, if it was met before.
    pub(super) fn known_at(&self, address: u64) -> Option<ClassId> {
        self.by_address.get(&address).copied().flatten()
    }

    #[cold]
    fn insert(&mut self, pointer: u64) -> Option<ClassId> {
        let class = if pointer == 0 { None } else { self.of_address(self.shape.class(pointer)) };
        if class.is_none() {
            self.unknown += 1;
            if self.unknown > MAX_UNKNOWN {
                return None;
            }
        }
        if self.used * 2 >= self.slots.len() {
            let larger = vec![(0, None); self.slots.len() * 2];
            let old = std::mem::replace(&mut self.slots, larger);
            old.into_iter().filter(|(key, _)| *key != 0).for_each(|(key, class)| self.put(key, class));
        }
        self.used += 1;
        self.put(pointer.wrapping_add(1), class);
        class
    }

    fn put(&mut self, key: u64, class: Option<ClassId>) {
        let mask = self.slots.len() - 1;
        let mut at = hash(key.wrapping_sub(1)) & mask;
        while self.slots.get(at).is_some_and(|(key, _)| *key != 0) {
            at = (at + 1) & mask;
        }
        if let Some(slot) = self.slots.get_mut(at) {
            *slot = (key, class);
        }
    }

    /// The class at `address`.
    pub(super) fn of_address(&mut self, address: u64) -> Option<ClassId> {
        self.read(address, MAX_DEPTH)
    }

    fn read(&mut self, address: u64, depth: usize) -> Option<ClassId> {
        if let Some(known) = self.by_address.get(&address) {
            return *known;
        }
        // One that leads to itself is none.
        if self.by_address.len() < 2 * MAX_UNKNOWN {
            self.by_address.insert(address, None);
        }
        let raw = self.source.read(address)?;
        let super_class = match raw.super_class {
            0 => None,
            above => Some(self.read(above, depth.checked_sub(1)?)?),
        };
        let kind = self.kind(address, &raw)?;
        let reference = self.reference(address, &raw, super_class);
        let class = Class {
            address,
            name: raw.name,
            kind,
            references: raw.references.into(),
            loader: raw.loader,
            super_class,
            reference: reference.map(Rc::new),
        };
        let id = ClassId(u32::try_from(self.classes.len()).ok()?);
        self.classes.push(class);
        self.by_address.insert(address, Some(id));
        Some(id)
    }

    fn kind(&self, address: u64, raw: &RawClass) -> Option<Kind> {
        let helper = raw.layout_helper;
        if helper < 0 {
            let bits = helper.cast_unsigned();
            let (header_bytes, log2_element_bytes) = (u64::from(bits >> 16 & 0xff), bits & 0x3f);
            let possible = (12..=32).contains(&header_bytes) && log2_element_bytes <= 3;
            return possible.then_some(match bits >> 30 {
                OBJECT_ARRAY => Kind::ObjectArray { header_bytes },
                _ => Kind::PrimitiveArray { header_bytes, log2_element_bytes },
            });
        }
        let bytes = u64::from((helper & !INSTANCE_FLAGS).cast_unsigned());
        match raw.name.as_str() {
            _ if bytes == 0 => Some(Kind::NoObjects),
            MIRROR => Some(Kind::Mirror { bytes }),
            STACK_CHUNK => {
                let fields = self.source.fields(address);
                let offset =
                    |name: &str| fields.iter().find(|field| field.name == name).map(|field| field.offset);
                Some(Kind::StackChunk { bytes, size: offset("size")?.into(), sp: offset("sp")?.into() })
            }
            _ => Some(Kind::Instance { bytes }),
        }
    }

    fn reference(&self, address: u64, raw: &RawClass, above: Option<ClassId>) -> Option<Reference> {
        let above = self.get(above?)?;
        if let Some((_, strength)) = STRENGTHS.iter().find(|(name, _)| *name == raw.name) {
            if above.name != REFERENCE {
                return None;
            }
            let fields = self.source.fields(above.address);
            let offset =
                |name: &str| fields.iter().find(|field| field.name == name).map(|field| field.offset);
            return Some(Reference {
                strength: *strength,
                referent: offset("referent")?,
                discovered: offset("discovered")?,
                actions: Vec::new(),
            });
        }
        let mut reference = above.reference.as_deref()?.clone();
        if reference.strength == Strength::Phantom {
            let own = format!("L{};", raw.name);
            let is_action = |field: &DeclaredField| {
                let links = |start: &&str| field.signature.starts_with(*start);
                let is_link = LINKS.iter().any(links) || field.signature == OLD_CLEANER;
                let of_reference = field.signature == own || self.is_above(above, &field.signature);
                field.is_reference() && !field.is_static && !is_link && !of_reference
            };
            let fields = self.source.fields(address);
            reference
                .actions
                .extend(fields.iter().filter(|field| is_action(field)).map(|field| field.offset));
        }
        Some(reference)
    }

    /// Is `signature` that of `class` or one above it, but for `Object`?
    fn is_above(&self, class: &Class, signature: &str) -> bool {
        let name = signature.strip_prefix('L').and_then(|rest| rest.strip_suffix(';')).unwrap_or_default();
        let mut next = Some(class);
        while let Some(class) = next.filter(|class| class.super_class.is_some()) {
            if class.name == name {
                return true;
            }
            next = class.super_class.and_then(|above| self.get(above));
        }
        false
    }

    /// Bytes of the object at `address`; none if what it says of its length makes no sense.
    #[inline]
    pub(super) fn object_bytes(&self, copy: &HeapCopy, address: u64, class: ClassId) -> Option<u64> {
        let array = |header_bytes: u64, log2: u32| -> Option<u64> {
            let length = copy.half(address.wrapping_add(self.shape.array_length))?;
            (length >> 31 == 0).then(|| header_bytes + (u64::from(length) << log2))
        };
        let bytes = match self.get(class)?.kind {
            Kind::Instance { bytes } => bytes,
            Kind::Mirror { bytes } => {
                let words = u64::from(copy.half(address.wrapping_add(self.mirror.size))?);
                (words * WORD_BYTES >= bytes && words < 1 << 20).then_some(words * WORD_BYTES)?
            }
            Kind::StackChunk { bytes, size, .. } => {
                let words = u64::from(copy.half(address.wrapping_add(size))?);
                let bits = if self.shape.references.is_some() { 2 * words } else { words };
                bytes + WORD_BYTES * (words + bits.div_ceil(64))
            }
            Kind::ObjectArray { header_bytes } => array(header_bytes, self.shape.reference_bytes().ilog2())?,
            Kind::PrimitiveArray { header_bytes, log2_element_bytes } => {
                array(header_bytes, log2_element_bytes)?
            }
            Kind::NoObjects => return None,
        };
        Some(bytes.next_multiple_of(self.shape.alignment))
    }

    /// The place of the elements in `object`, which is of this class; none if it is no array of numbers.
    pub(super) fn elements(&self, class: ClassId, object: Range<u64>) -> Option<Range<u64>> {
        match self.get(class)?.kind {
            Kind::PrimitiveArray { header_bytes, .. } => Some(object.start + header_bytes..object.end),
            _ => None,
        }
    }

    /// Is there an object at `address`, as far as its header and length tell? For words that only may be references.
    pub(super) fn is_object(&mut self, copy: &HeapCopy, address: u64) -> Option<ClassId> {
        /// Bits of the mark word of an object that a collector has moved.
        const FORWARDED: u64 = 3;
        if !address.is_multiple_of(self.shape.alignment) || !copy.contains(address) {
            return None;
        }
        if copy.word(address)? & FORWARDED == FORWARDED {
            return None;
        }
        let class = self.of_object(copy, address)?;
        let bytes = self.object_bytes(copy, address, class)?;
        copy.contains(address.checked_add(bytes)? - 1).then_some(class)
    }

    /// Fields of the class and of those above it, the class's own first.
    pub(super) fn fields(&self, class: ClassId) -> Vec<(ClassId, DeclaredField)> {
        let mut fields = Vec::new();
        let mut next = Some(class);
        while let Some((id, class)) = next.and_then(|id| Some((id, self.get(id)?))) {
            fields.extend(self.source.fields(class.address).into_iter().map(|field| (id, field)));
            next = class.super_class;
        }
        fields
    }

    /// Fields that the class declares itself.
    pub(super) fn own_fields(&self, class: ClassId) -> Vec<DeclaredField> {
        self.get(class).map(|class| self.source.fields(class.address)).unwrap_or_default()
    }
}

#[inline]
fn hash(pointer: u64) -> usize {
    (pointer.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32) as usize
}
