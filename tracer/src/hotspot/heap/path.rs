//! The way from a root to an object, in names of classes, fields and threads.
//!
//! Contents of objects are never read, but for the names of threads.

use std::rc::Rc;
use std::sync::Arc;

use super::MarkedHeap;
use super::class::{ClassId, Kind};
use super::marks::Parent;
use super::roots::Root;
use crate::hotspot::class_name::readable;

/// Objects on one way.
const MAX_LENGTH: usize = 1 << 16;
/// Steps that are given, and how many of the first are among them.
const MAX_STEPS: usize = 24;
const FIRST_STEPS: usize = 4;
/// Objects between a virtual thread and its stack.
const MAX_THREAD_DISTANCE: usize = 16;
const MAX_NAME: usize = 256;
const THREAD: &str = "java/lang/Thread";
const STRING: &str = "java/lang/String";
/// `String.coder`: one byte a character.
const LATIN1: u8 = 0;

/// Kind of reference that a step follows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum StepKind {
    Static,
    Field,
    Element,
    /// The object of a thread.
    Thread,
    /// A word on a thread's stack, or in its registers.
    Stack,
    Loader,
    Jni,
    /// The JVM's own.
    Internal,
}

/// A step from a root towards an object.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
pub struct Step {
    pub kind: StepKind,
    /// Class whose field or element it is, with dots.
    pub class: Option<Arc<str>>,
    /// Name of the field, or of the thread.
    pub name: Option<Arc<str>>,
}

impl Step {
    fn new(kind: StepKind, class: Option<Arc<str>>, name: Option<Arc<str>>) -> Self {
        Self { kind, class, name }
    }
}

impl MarkedHeap<'_, '_> {
    /// The way to the object with this index in the order of marking, from its root on. Runs of fields of one class
    /// (the links of a list, the branches of a tree) are one step.
    pub fn path(&mut self, index: usize) -> Rc<[Step]> {
        // Ways share their beginnings: each is worked out once.
        let mut chain = vec![index];
        let mut path = loop {
            let last = chain.last().copied().unwrap_or(index);
            if let Some(known) = self.paths.get(&last) {
                break known.clone();
            }
            match self.marks.parent(last) {
                Some(Parent::Object(parent)) if chain.len() < MAX_LENGTH => chain.push(parent),
                Some(Parent::Root(root)) => {
                    let root = self.marks.roots.get(root).cloned();
                    let path: Rc<[Step]> = root.map(|root| self.root_step(&root)).into_iter().collect();
                    self.paths.insert(last, path.clone());
                    break path;
                }
                _ => break Rc::default(),
            }
        };
        while let Some(parent) = chain.pop() {
            let Some(child) = chain.last().copied() else { break };
            let objects = self.marks.object(parent).zip(self.marks.object(child));
            if let Some((parent_object, child_object)) = objects {
                let step = self.step(parent_object, child_object, parent);
                path = extended(path, step);
            }
            self.paths.insert(child, path.clone());
        }
        path
    }

    fn root_step(&mut self, root: &Root) -> Step {
        let thread = |look: &Self, thread: &usize| look.threads.get(*thread).copied().unwrap_or(0);
        match root {
            Root::Loader { object: 0 } => Step::new(StepKind::Loader, Some("bootstrap".into()), None),
            Root::Loader { object } => Step::new(StepKind::Loader, self.class_of(*object), None),
            Root::Thread(index) => {
                let object = thread(self, index);
                Step::new(StepKind::Thread, self.class_of(object), self.thread_name(object))
            }
            Root::Local(index) => {
                let object = thread(self, index);
                Step::new(StepKind::Jni, None, self.thread_name(object))
            }
            Root::Stack(index) => {
                let object = thread(self, index);
                Step::new(StepKind::Stack, None, self.thread_name(object))
            }
            Root::Storage { name } if name.starts_with("JNI") => Step::new(StepKind::Jni, None, None),
            Root::Storage { name } => Step::new(StepKind::Internal, None, Some(name.as_str().into())),
            Root::Statics => Step::new(StepKind::Internal, None, Some("the JVM's own variables".into())),
        }
    }

    fn class_of(&mut self, object: u64) -> Option<Arc<str>> {
        if !self.copy.contains(object) {
            return None;
        }
        let class = self.classes.of_object(self.copy, object)?;
        Some(self.class_name(class))
    }

    /// The name of a class, with dots.
    pub fn class_name(&mut self, class: ClassId) -> Arc<str> {
        let classes = &self.classes;
        let name = || type_name(classes.get(class).map_or("?", |class| class.name.as_str())).into();
        self.class_names.entry(class).or_insert_with(name).clone()
    }

    /// Step from the object at `parent` to the one at `child`.
    fn step(&mut self, parent: u64, child: u64, index: usize) -> Step {
        let unknown = |name: &str| Step::new(StepKind::Internal, None, Some(name.into()));
        let Some(id) = self.classes.of_object(self.copy, parent) else { return unknown("an unknown class") };
        let Some(class) = self.classes.get(id) else { return unknown("an unknown class") };
        let (kind, references) = (class.kind, class.references.clone());
        let special = class.reference.clone();
        let shape = self.classes.shape;
        let leads = |offset: u64| shape.reference(self.copy, parent + offset) == Some(child);
        let step = shape.reference_bytes();
        let all = references.iter().flat_map(|block| block.offsets(step));
        let special =
            special.iter().flat_map(|special| [special.referent, special.discovered]).map(u64::from);
        match kind {
            Kind::ObjectArray { .. } => return Step::new(StepKind::Element, Some(self.class_name(id)), None),
            Kind::StackChunk { .. } => {
                return Step::new(StepKind::Stack, Some(self.class_name(id)), self.virtual_thread(index));
            }
            Kind::Mirror { bytes } => {
                let count = self.copy.half(parent + self.classes.mirror.static_count).unwrap_or(0);
                let offset = (0..u64::from(count.min(1 << 16)))
                    .map(|index| bytes + index * step)
                    .find(|offset| leads(*offset));
                let klass = self.copy.word(parent + self.classes.mirror.klass).filter(|klass| *klass != 0);
                if let Some((offset, of)) = offset.zip(klass.and_then(|klass| self.classes.of_address(klass)))
                {
                    let fields = self.classes.own_fields(of);
                    let is_it =
                        |offset: u64| fields.iter().find(|f| f.is_static && u64::from(f.offset) == offset);
                    let name = is_it(offset).map(|field| field.name.as_str().into());
                    return Step::new(StepKind::Static, Some(self.class_name(of)), name);
                }
            }
            _ => {}
        }
        let Some(offset) = all.chain(special).find(|offset| leads(*offset)) else {
            // An action, which its referent does not refer to.
            return unknown("its cleaner");
        };
        let name = self.field_name(id, offset);
        Step::new(StepKind::Field, Some(self.class_name(id)), name)
    }

    /// The name of the field at `offset` of instances of `class`.
    pub(super) fn field_name(&mut self, class: ClassId, offset: u64) -> Option<Arc<str>> {
        if let Some(name) = self.field_names.get(&(class, offset)) {
            return name.clone();
        }
        let fields = self.classes.fields(class);
        let field = fields.into_iter().find(|(_, f)| !f.is_static && u64::from(f.offset) == offset);
        let name: Option<Arc<str>> = field.map(|(_, field)| field.name.into());
        self.field_names.insert((class, offset), name.clone());
        name
    }

    /// The step to the static field at `offset`, as [`MarkedHeap::each_long`] gives it.
    pub fn static_step(&mut self, class: ClassId, offset: u32) -> Step {
        Step::new(StepKind::Static, Some(self.class_name(class)), self.field(class, offset))
    }

    /// The name of the static field at `offset` of `class`'s `java.lang.Class`.
    pub(super) fn static_name(&self, class: ClassId, offset: u32) -> Option<Arc<str>> {
        let fields = self.classes.own_fields(class);
        let field = fields.into_iter().find(|field| field.is_static && field.offset == offset);
        field.map(|field| field.name.into())
    }

    /// The name of the nearest virtual thread on the way to the object with this index.
    fn virtual_thread(&mut self, index: usize) -> Option<Arc<str>> {
        let mut next = index;
        for _ in 0..MAX_THREAD_DISTANCE {
            let object = self.marks.object(next)?;
            if let Some(name) = self.thread_name(object) {
                return Some(name).filter(|name| !name.is_empty());
            }
            let Some(Parent::Object(parent)) = self.marks.parent(next) else { return None };
            next = parent;
        }
        None
    }

    /// The name of the thread whose `java.lang.Thread` is at `object`.
    fn thread_name(&mut self, object: u64) -> Option<Arc<str>> {
        if !self.copy.contains(object) {
            return None;
        }
        let class = self.classes.of_object(self.copy, object)?;
        let mut next = Some(class);
        let thread = loop {
            let id = next?;
            let class = self.classes.get(id)?;
            if class.name == THREAD {
                break id;
            }
            next = class.super_class;
        };
        let name = self.offset_of(thread, "name")?;
        let string = self.classes.shape.reference(self.copy, object + name)?;
        if !self.copy.contains(string) {
            return None;
        }
        let class = self.classes.of_object(self.copy, string)?;
        if self.classes.get(class)?.name != STRING {
            return None;
        }
        let (value, coder) = (self.offset_of(class, "value")?, self.offset_of(class, "coder")?);
        let array = self.classes.shape.reference(self.copy, string + value)?;
        let coder = self.copy.bytes(string + coder, 1)?.first().copied()?;
        let array_class = self.classes.of_object(self.copy, array)?;
        let Kind::PrimitiveArray { header_bytes, .. } = self.classes.get(array_class)?.kind else {
            return None;
        };
        let length = self.copy.half(array + self.classes.shape.array_length)? as usize;
        let bytes = self.copy.bytes(array + header_bytes, length.min(MAX_NAME))?;
        if coder == LATIN1 {
            let text: String = bytes.iter().map(|byte| char::from(*byte)).collect();
            return Some(text.into());
        }
        let units = bytes.as_chunks::<2>().0.iter().map(|unit| u16::from_le_bytes(*unit));
        let chars = char::decode_utf16(units).map(|unit| unit.unwrap_or(char::REPLACEMENT_CHARACTER));
        Some(chars.collect::<String>().into())
    }

    fn offset_of(&self, class: ClassId, name: &str) -> Option<u64> {
        let fields = self.classes.own_fields(class);
        fields.iter().find(|field| field.name == name && !field.is_static).map(|field| field.offset.into())
    }
}

/// `path` with one more step.
fn extended(path: Rc<[Step]>, step: Step) -> Rc<[Step]> {
    // A static field needs no explanation.
    if step.kind == StepKind::Static {
        return [step].into();
    }
    let is_link = matches!(step.kind, StepKind::Field | StepKind::Element) && step.class.is_some();
    match path.last() {
        Some(last) if *last == step => path,
        Some(last) if is_link && last.kind == step.kind && last.class == step.class => {
            let before = path.len() - 1;
            path.iter().take(before).cloned().chain([step]).collect()
        }
        _ if path.len() < MAX_STEPS => path.iter().cloned().chain([step]).collect(),
        // Steps between the first and the last ones are left out.
        _ => {
            let more = Step::new(StepKind::Internal, None, Some("...".into()));
            let last = path.iter().skip(FIRST_STEPS + 2).cloned();
            path.iter().take(FIRST_STEPS).cloned().chain([more]).chain(last).chain([step]).collect()
        }
    }
}

/// A type's name as people write it: `[Ljava/lang/Object;` is `java.lang.Object[]`.
fn type_name(name: &str) -> String {
    let element = name.trim_start_matches('[');
    let dimensions = name.len() - element.len();
    let element = match (dimensions, element) {
        (0, name) => readable(name),
        (_, "B") => "byte".to_owned(),
        (_, "C") => "char".to_owned(),
        (_, "D") => "double".to_owned(),
        (_, "F") => "float".to_owned(),
        (_, "I") => "int".to_owned(),
        (_, "J") => "long".to_owned(),
        (_, "S") => "short".to_owned(),
        (_, "Z") => "boolean".to_owned(),
        (_, name) => readable(name.strip_prefix('L').and_then(|name| name.strip_suffix(';')).unwrap_or(name)),
    };
    element + &"[]".repeat(dimensions)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_types() {
        assert_eq!(type_name("java/util/ArrayList"), "java.util.ArrayList");
        assert_eq!(type_name("[Ljava/lang/Object;"), "java.lang.Object[]");
        assert_eq!(type_name("[[B"), "byte[][]");
        assert_eq!(type_name("[["), "[][]");
    }

    #[test]
    fn ways_stay_short() {
        let field =
            |class: &str, name: &str| Step::new(StepKind::Field, Some(class.into()), Some(name.into()));
        let mut path: Rc<[Step]> = [Step::new(StepKind::Jni, None, None)].into();
        for name in ["first", "next", "next", "item"] {
            path = extended(path, field("LinkedList$Node", name));
        }
        assert_eq!(path.len(), 2, "the links of one list are one step");
        assert_eq!(path.last(), Some(&field("LinkedList$Node", "item")));
        for index in 0..100 {
            path = extended(path, field(&format!("C{index}"), "f"));
        }
        assert_eq!(path.len(), MAX_STEPS);
        assert_eq!(path[FIRST_STEPS].name.as_deref(), Some("..."));
        assert_eq!(path.last(), Some(&field("C99", "f")));
        path = extended(path, Step::new(StepKind::Static, Some("A".into()), Some("B".into())));
        assert_eq!(path.len(), 1);
    }
}
