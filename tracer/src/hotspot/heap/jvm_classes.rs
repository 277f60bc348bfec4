//! Classes as the JVM has them in its own memory, each proved to be one before it is used.
//!
//! A class is proved by the `java.lang.Class` that leads back to it, or by its loader, which lists it.

use std::collections::{HashMap, HashSet};

use super::HeapAccess;
use super::class::{DeclaredField, RawClass, ReadClass, ReferenceBlock};
use super::copy::HeapCopy;
use crate::hotspot::java_fields;
use crate::hotspot::method;
use crate::hotspot::read::{ReadError, Reader, pointer};

/// Classes of one JVM.
const MAX_CLASSES: usize = 1 << 22;
/// Blocks of references in one class.
const MAX_BLOCKS: u64 = 1 << 12;
const MAX_TABLE_WORDS: u64 = 1 << 20;
const WORD_BYTES: u64 = 8;

/// Classes as the JVM has them, each proved.
pub(super) struct JvmClasses<'a> {
    access: &'a HeapAccess<'a>,
    reader: Reader<'a>,
    copy: &'a HeapCopy,
    handles: HashMap<u64, u64>,
    listed: HashSet<u64>,
}

impl<'a> JvmClasses<'a> {
    /// The classes of a JVM. `handles` are references of loaders by the address of their handle.
    pub(super) fn new(
        access: &'a HeapAccess<'a>,
        reader: Reader<'a>,
        copy: &'a HeapCopy,
        handles: HashMap<u64, u64>,
    ) -> Self {
        Self { access, reader, copy, handles, listed: Self::listed(access).unwrap_or_default() }
    }

    /// Every class that a loader lists: those without a `java.lang.Class` too.
    fn listed(access: &HeapAccess<'_>) -> Result<HashSet<u64>, ReadError> {
        let layout = &access.layout.loaders;
        let mut listed = HashSet::new();
        let mut loaders = HashSet::new();
        let mut next = access.reader.u64(layout.head)?;
        while next != 0 && loaders.insert(next) && listed.len() < MAX_CLASSES {
            let loader = access.reader.record(next, layout.bytes)?;
            let mut class = loader.field(layout.classes)?;
            while class != 0 && pointer(class).is_ok() && listed.insert(class) && listed.len() < MAX_CLASSES {
                class = access.reader.field(class, layout.next_class).unwrap_or(0);
            }
            next = loader.field(layout.next)?;
        }
        Ok(listed)
    }

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
            let block = |map| ReferenceBlock { offset: half(map, 0), count: half(map, 4) };
            raw.references = maps.as_chunks::<8>().0.iter().map(block).collect();
            let bytes = u64::from((raw.layout_helper & !7).cast_unsigned());
            let step = access.shape.reference_bytes();
            let fits =
                |block: &ReferenceBlock| u64::from(block.offset) + u64::from(block.count) * step <= bytes;
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
        let declared = java_fields::declared(self.reader, self.access.all, self.access.objects, address);
        let field =
            |(name, signature, offset, is_static)| DeclaredField { name, signature, offset, is_static };
        declared.unwrap_or_default().into_iter().map(field).collect()
    }
}
