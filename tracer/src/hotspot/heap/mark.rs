//! The mark: which objects are reachable, from what, and how strongly, found forward from the roots over a copy of the
//! heap.
//!
//! Breadth first, with one parent for each object, so that paths are the shortest. Roots are marked to the end group by
//! group, the precise ones first: a word on a stack that only may be a reference explains only what nothing else does.
//! Pure: knows the copy, the classes and the roots, and reads nothing else.
//!
//! Cleaners: a `PhantomReference` keeps the action that frees something, not the object whose end it waits for. Such
//! actions are set aside with the referent. If the referent is reachable, the action is, and by the referent's path;
//! else only the cleaner has it, which is what garbage looks like.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;

use super::class::{ClassId, Kind, Reference, ReferenceBlock, Strength};
use super::class_table::ClassTable;
use super::copy::{HeapCopy, used_bytes};
use super::marks::{Marks, ParentCode, Reach};
use super::roots::{Root, Roots};

const WORD_BYTES: u64 = 8;
/// The smallest object: a header of eight bytes.
const SMALLEST_OBJECT_BYTES: u64 = 8;

/// A reference whose referent was not reached when it was met.
#[derive(Clone, Copy)]
struct Waiting {
    index: usize,
    object: u64,
    class: ClassId,
}

struct Marker<'a, 'b> {
    copy: &'a HeapCopy,
    classes: &'a mut ClassTable<'b>,
    marks: Marks,
    /// The next object whose references are to be followed.
    next: usize,
    reach: Reach,
    /// Loaders that were not reached yet, by their `ClassLoaderData` and by their object.
    loaders: HashMap<u64, usize>,
    loader_objects: HashMap<u64, u64>,
    loader_roots: Vec<(ParentCode, Vec<u64>)>,
    /// Whether the loader of each class was seen.
    seen_classes: Vec<bool>,
    phantoms: Vec<Waiting>,
    finals: Vec<Waiting>,
    softs: Vec<Waiting>,
    chunks: Vec<usize>,
    /// What is mapped where no two compressed references can lead, sorted.
    mapped: Arc<[Range<u64>]>,
}

/// Marks all that `roots` lead to.
///
/// # Errors
/// There is no memory for it.
pub(super) fn mark(copy: &HeapCopy, classes: &mut ClassTable<'_>, roots: Roots) -> std::io::Result<Marks> {
    let capacity = used_bytes(copy.spaces()) / SMALLEST_OBJECT_BYTES.max(classes.shape.alignment);
    let marks = Marks::with_room_for(copy, capacity)?;
    let mut marker = Marker {
        copy,
        classes,
        marks,
        next: 0,
        reach: Reach::Held,
        loaders: HashMap::new(),
        loader_objects: HashMap::new(),
        loader_roots: Vec::new(),
        seen_classes: Vec::new(),
        phantoms: Vec::new(),
        finals: Vec::new(),
        softs: Vec::new(),
        chunks: Vec::new(),
        mapped: roots.mapped.clone(),
    };
    marker.all(roots);
    let mut marks = marker.marks;
    marks.finish();
    Ok(marks)
}

impl Marker<'_, '_> {
    fn all(&mut self, roots: Roots) {
        let mut boot = Vec::new();
        for loader in roots.loaders {
            let root = self.marks.add_root(Root::Loader { object: loader.object });
            let index = self.loader_roots.len();
            self.loader_roots.push((root, loader.handles));
            if loader.object == 0 && !loader.is_holder {
                boot.push(index);
                continue;
            }
            self.loaders.insert(loader.address, index);
            if !loader.is_holder {
                self.loader_objects.insert(loader.object, loader.address);
            }
        }
        // A thread's object explains what is in its thread locals better than the list of all threads does.
        let mut imprecise = Vec::new();
        let mut locals = Vec::new();
        for (index, thread) in roots.threads.into_iter().enumerate() {
            let root = self.marks.add_root(Root::Thread(index));
            self.reached(thread.object, root);
            locals.push((index, thread.locals));
            imprecise.push((index, thread.stack, thread.registers));
        }
        boot.into_iter().for_each(|index| self.follow_loader(index));
        self.finish();
        for (index, objects) in locals {
            let root = self.marks.add_root(Root::Local(index));
            objects.into_iter().for_each(|object| self.reached(object, root));
        }
        self.finish();
        for storage in roots.storages.into_iter().filter(|storage| !storage.weak) {
            let root = self.marks.add_root(Root::Storage { name: storage.name });
            storage.objects.into_iter().for_each(|object| self.reached(object, root));
            self.finish();
        }
        let root = self.marks.add_root(Root::Statics);
        roots.statics.into_iter().for_each(|word| self.may_be(word, root));
        self.finish();

        self.begin(Reach::Stack);
        for (index, stack, registers) in imprecise {
            let root = self.marks.add_root(Root::Stack(index));
            for (at, word) in stack.into_iter().chain(registers).enumerate() {
                let count = self.marks.count();
                self.word(word, root);
                if self.marks.count() > count {
                    tracing::trace!(thread = index, at, word = format_args!("{word:#x}"), "by a stack");
                }
            }
        }
        self.finish();
        self.chunks();

        self.begin(Reach::Soft);
        for waiting in std::mem::take(&mut self.softs) {
            self.referent(waiting);
        }
        self.finish();
        self.chunks();

        self.begin(Reach::Collectable);
        // An object that one of them keeps may keep others.
        loop {
            let phantoms = std::mem::take(&mut self.phantoms);
            let finals = std::mem::take(&mut self.finals);
            if phantoms.is_empty() && finals.is_empty() {
                break;
            }
            phantoms.into_iter().for_each(|waiting| self.actions(waiting, None));
            finals.into_iter().for_each(|waiting| self.referent(waiting));
            self.finish();
            self.chunks();
        }
    }

    fn begin(&mut self, reach: Reach) {
        self.reach = reach;
        self.marks.begin(reach);
    }

    /// An object that something leads to for certain.
    #[inline]
    fn reached(&mut self, object: u64, parent: ParentCode) {
        if object == 0 {
            return;
        }
        if !self.copy.contains(object) || !object.is_multiple_of(WORD_BYTES) {
            self.marks.quality.outside += 1;
            return;
        }
        self.marks.mark(object, parent);
    }

    /// A word that may be an address.
    fn may_be(&mut self, word: u64, parent: ParentCode) {
        if self.copy.contains(word)
            && !self.marks.is_marked(word)
            && self.classes.is_object(self.copy, word).is_some()
        {
            self.reached(word, parent);
        }
    }

    /// A word that may be an address or two compressed references. Where an address leads, its lower half alone would
    /// often be a compressed reference, too: thread stacks and malloc's memory have whole ranges of such.
    fn word(&mut self, word: u64, parent: ParentCode) {
        self.may_be(word, parent);
        if self.classes.shape.references.is_some() && !self.is_mapped(word) {
            for half in [word as u32, (word >> 32) as u32] {
                let address = self.classes.shape.decode(half);
                self.may_be(address, parent);
            }
        }
    }

    fn is_mapped(&self, word: u64) -> bool {
        let after = self.mapped.partition_point(|range| range.start <= word);
        after.checked_sub(1).and_then(|at| self.mapped.get(at)).is_some_and(|range| word < range.end)
    }

    /// Follows all that is marked to the end, with the actions of cleaners whose referents were reached.
    fn finish(&mut self) {
        loop {
            while let Some(object) = self.marks.object(self.next) {
                let index = self.next;
                self.next += 1;
                self.follow(object, index);
            }
            let waiting = std::mem::take(&mut self.phantoms);
            let count = waiting.len();
            for waiting in waiting {
                match self.referent_of(waiting) {
                    Some(referent) if self.marks.is_marked(referent) => {
                        self.actions(waiting, Some(referent));
                    }
                    _ => self.phantoms.push(waiting),
                }
            }
            if self.phantoms.len() == count && self.next >= self.marks.count() {
                return;
            }
        }
    }

    fn follow(&mut self, object: u64, index: usize) {
        let Some(id) = self.classes.of_object(self.copy, object) else {
            self.marks.quality.unknown += 1;
            return;
        };
        self.see_loader(id);
        if !self.loader_objects.is_empty()
            && let Some(loader) = self.loader_objects.remove(&object)
        {
            self.see_loader_data(loader);
        }
        let parent = ParentCode::from(index);
        let Some(class) = self.classes.get(id) else { return };
        match class.kind {
            Kind::PrimitiveArray { .. } | Kind::NoObjects => {}
            Kind::ObjectArray { header_bytes } => self.elements(object, header_bytes, parent),
            Kind::Instance { .. } | Kind::Mirror { .. } | Kind::StackChunk { .. } => {
                let (kind, blocks) = (class.kind, class.references.clone());
                let special = class.reference.clone();
                match &special {
                    Some(reference) => self.special(object, id, index, &blocks, reference),
                    None => self.blocks(object, &blocks, &[], parent),
                }
                match kind {
                    Kind::Mirror { bytes } => self.mirror(object, bytes, parent),
                    Kind::StackChunk { .. } => self.chunks.push(index),
                    _ => {}
                }
            }
        }
    }

    fn blocks(&mut self, object: u64, blocks: &[ReferenceBlock], but: &[u32], parent: ParentCode) {
        let step = self.classes.shape.reference_bytes();
        for block in blocks {
            for offset in block.offsets(step) {
                if !but.is_empty() && but.iter().any(|but| u64::from(*but) == offset) {
                    continue;
                }
                let target = self.classes.shape.reference(self.copy, object + offset);
                self.reached(target.unwrap_or(0), parent);
            }
        }
    }

    fn elements(&mut self, object: u64, header_bytes: u64, parent: ParentCode) {
        let shape = self.classes.shape;
        let length = self.copy.half(object + shape.array_length).unwrap_or(0);
        let step = shape.reference_bytes();
        for index in 0..u64::from(length) {
            let at = object + header_bytes + index * step;
            // An array that does not end within the heap is none.
            if !self.copy.contains(at) {
                self.marks.quality.outside += 1;
                return;
            }
            let target = shape.reference(self.copy, at);
            self.reached(target.unwrap_or(0), parent);
        }
    }

    fn special(
        &mut self,
        object: u64,
        class: ClassId,
        index: usize,
        blocks: &[ReferenceBlock],
        reference: &Reference,
    ) {
        let parent = ParentCode::from(index);
        let shape = self.classes.shape;
        self.blocks(object, blocks, &reference.actions, parent);
        let discovered = shape.reference(self.copy, object + u64::from(reference.discovered));
        self.reached(discovered.unwrap_or(0), parent);
        let waiting = Waiting { index, object, class };
        match reference.strength {
            Strength::Soft if self.reach >= Reach::Soft => self.referent(waiting),
            Strength::Soft => self.softs.push(waiting),
            Strength::Weak => {}
            Strength::Phantom if reference.actions.is_empty() => {}
            Strength::Phantom => self.phantoms.push(waiting),
            Strength::Final => self.finals.push(waiting),
        }
    }

    fn referent_of(&self, waiting: Waiting) -> Option<u64> {
        let reference = self.classes.get(waiting.class)?.reference.as_ref()?;
        let address = waiting.object + u64::from(reference.referent);
        self.classes.shape.reference(self.copy, address).filter(|referent| *referent != 0)
    }

    fn referent(&mut self, waiting: Waiting) {
        if let Some(referent) = self.referent_of(waiting) {
            self.reached(referent, waiting.index.into());
        }
    }

    /// The actions of a cleaner, for a referent that was reached or for none.
    fn actions(&mut self, waiting: Waiting, referent: Option<u64>) {
        let Some(reference) = self.classes.get(waiting.class).and_then(|class| class.reference.clone())
        else {
            return;
        };
        for action in &reference.actions {
            let target = self.classes.shape.reference(self.copy, waiting.object + u64::from(*action));
            let index = self.marks.count();
            self.reached(target.unwrap_or(0), waiting.index.into());
            if let Some(referent) = referent.filter(|_| self.marks.count() > index) {
                self.marks.acts_for(index, referent);
            }
        }
    }

    fn mirror(&mut self, object: u64, instance_bytes: u64, parent: ParentCode) {
        let fields = self.classes.mirror;
        let shape = self.classes.shape;
        let count = self.copy.half(object + fields.static_count).unwrap_or(0);
        let klass = self.copy.word(object + fields.klass).unwrap_or(0);
        if klass != 0
            && let Some(class) = self.classes.of_address(klass)
        {
            self.see_loader(class);
        }
        for index in 0..u64::from(count.min(1 << 16)) {
            let at = object + instance_bytes + index * shape.reference_bytes();
            let target = shape.reference(self.copy, at);
            self.reached(target.unwrap_or(0), parent);
        }
    }

    /// The stacks of virtual threads that were reached: their words may be references.
    fn chunks(&mut self) {
        while !self.chunks.is_empty() {
            for index in std::mem::take(&mut self.chunks) {
                self.chunk(index);
            }
            self.finish();
        }
    }

    fn chunk(&mut self, index: usize) {
        let Some(object) = self.marks.object(index) else { return };
        let class = self.classes.of_object(self.copy, object).and_then(|class| self.classes.get(class));
        let Some(Kind::StackChunk { bytes, size, sp }) = class.map(|class| class.kind) else { return };
        let number = |offset| self.copy.half(object + offset).unwrap_or(0);
        let (size, sp) = (u64::from(number(size)), u64::from(number(sp)));
        for word in sp.min(size)..size {
            let at = object + bytes + word * WORD_BYTES;
            if !self.copy.contains(at) {
                return;
            }
            let word = self.copy.word(at).unwrap_or(0);
            self.word(word, index.into());
        }
    }

    #[inline]
    fn see_loader(&mut self, class: ClassId) {
        let index = class.index();
        if self.seen_classes.get(index).copied().unwrap_or(false) {
            return;
        }
        if self.seen_classes.len() <= index {
            self.seen_classes.resize(index + 1, false);
        }
        if let Some(seen) = self.seen_classes.get_mut(index) {
            *seen = true;
        }
        if let Some(loader) = self.classes.get(class).map(|class| class.loader) {
            self.see_loader_data(loader);
        }
    }

    fn see_loader_data(&mut self, loader: u64) {
        if let Some(index) = self.loaders.remove(&loader) {
            self.follow_loader(index);
        }
    }

    fn follow_loader(&mut self, index: usize) {
        let Some((root, handles)) = self.loader_roots.get_mut(index) else { return };
        let (root, handles) = (*root, std::mem::take(handles));
        handles.into_iter().for_each(|object| self.reached(object, root));
    }
}
