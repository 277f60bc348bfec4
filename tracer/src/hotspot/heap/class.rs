//! A class: how long its objects are, where their references are, and who can say so.

use std::rc::Rc;

/// Index into a `ClassTable`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ClassId(pub(super) u32);

impl ClassId {
    pub(super) fn index(self) -> usize {
        self.0 as usize
    }

    /// A class of no table, for tests.
    #[cfg(test)]
    pub fn numbered(number: u32) -> Self {
        Self(number)
    }
}

/// A field that a class declares itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeclaredField {
    pub name: String,
    pub signature: String,
    /// Offset from the object's start; of a static field, from that of its `java.lang.Class`.
    pub offset: u32,
    pub is_static: bool,
}

impl DeclaredField {
    pub(super) fn is_reference(&self) -> bool {
        self.signature.starts_with(['L', '['])
    }
}

/// References of an instance, one behind the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ReferenceBlock {
    /// Offset of the first from the object's start.
    pub(super) offset: u32,
    pub(super) count: u32,
}

impl ReferenceBlock {
    /// Offset of each of them, which takes `step` bytes.
    #[inline]
    pub(super) fn offsets(self, step: u64) -> impl Iterator<Item = u64> {
        (0..u64::from(self.count)).map(move |index| u64::from(self.offset) + index * step)
    }
}

/// Fields that are read of a class.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct RawClass {
    pub(super) name: String,
    pub(super) layout_helper: i32,
    /// 0: none.
    pub(super) super_class: u64,
    /// Address of its `ClassLoaderData`.
    pub(super) loader: u64,
    /// References in an instance, those of superclasses among them.
    pub(super) references: Vec<ReferenceBlock>,
}

/// Whoever can read a class, and prove that it is one.
pub(super) trait ReadClass {
    /// The class at `address`; none if it cannot be proved.
    fn read(&self, address: u64) -> Option<RawClass>;
    /// The fields that it declares itself.
    fn fields(&self, address: u64) -> Vec<DeclaredField>;
}

/// Layout of a class's objects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Instance {
        bytes: u64,
    },
    /// `java.lang.Class`: static fields are behind the instance's own.
    Mirror {
        bytes: u64,
    },
    /// The stack of a virtual thread. Offsets of its fields `size` and `sp`.
    StackChunk {
        bytes: u64,
        size: u64,
        sp: u64,
    },
    ObjectArray {
        header_bytes: u64,
    },
    PrimitiveArray {
        header_bytes: u64,
        log2_element_bytes: u32,
    },
    /// An abstract class or an interface.
    NoObjects,
}

/// Strength of a `java.lang.ref.Reference`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Strength {
    Soft,
    Weak,
    Phantom,
    Final,
}

/// A subclass of `java.lang.ref.Reference`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Reference {
    pub(super) strength: Strength,
    /// Offsets of fields that the JVM treats by itself.
    pub(super) referent: u32,
    pub(super) discovered: u32,
    /// Offsets of what a phantom reference acts on when its referent is gone.
    pub(super) actions: Vec<u32>,
}

/// A class.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Class {
    pub(super) address: u64,
    pub(super) name: String,
    pub(super) kind: Kind,
    pub(super) references: Rc<[ReferenceBlock]>,
    pub(super) loader: u64,
    pub(super) super_class: Option<ClassId>,
    pub(super) reference: Option<Rc<Reference>>,
}

/// Offsets that a `java.lang.Class` has for the JVM's own use.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct MirrorFields {
    /// Size of the mirror itself in words.
    pub(super) size: u64,
    pub(super) static_count: u64,
    /// The class that the mirror is of.
    pub(super) klass: u64,
}
