//! Meaning of a raw frame: a Java method, a stub of the JVM, or the reason why it has no name.

use std::fmt;
use std::sync::Arc;

/// Kind of a [`JavaFrame`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum JavaFrameKind {
    /// A Java method.
    Method,
    /// Code of the JVM's own in its code cache: a stub, adapter, or the interpreter. `method` is
    /// the name that the JVM gives it.
    Stub,
    /// The older frames of a virtual thread lie in the heap from here.
    Continuation,
    /// The frame could not be named: `stale` says why.
    Unknown,
}

/// Way in which a Java method was run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Tier {
    Interpreted,
    C1,
    C2,
    /// Inlined into the compiled method further out.
    Inlined,
    /// A compiled wrapper around a native method.
    Native,
}

/// Reason why what memory says of a frame no longer holds. If the frame has a name nevertheless, it was
/// remembered from when it held.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Stale {
    /// The nmethod with this compile id was freed, or its place holds another.
    Nmethod(u32),
    /// The `Method*` belongs to another method, or to none, by now.
    Method,
    /// The structure that should describe the frame cannot be read, or makes no sense.
    Unreadable,
}

impl fmt::Display for Stale {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Nmethod(id) => write!(formatter, "stale nmethod #{id}"),
            Self::Method => formatter.write_str("stale method"),
            Self::Unreadable => formatter.write_str("unreadable JVM memory"),
        }
    }
}

/// A frame as the JVM sees it: several come from one compiled frame with inlined methods.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct JavaFrame {
    pub kind: JavaFrameKind,
    /// Name with dots; hidden classes without their address ([`super::readable_class_name`]). Empty unless `kind` is
    /// `Method`.
    pub class: Arc<str>,
    /// The method's name, or the stub's.
    pub method: Arc<str>,
    /// The method's descriptor, as in class files.
    pub signature: Arc<str>,
    /// The source file's name, without a directory.
    pub file: Option<Arc<str>>,
    pub line: Option<u32>,
    /// Bytecode index, where there is one.
    pub bci: Option<u32>,
    /// Unknown for stubs and remembered methods.
    pub tier: Option<Tier>,
    /// The method is native.
    pub native: bool,
    /// The address of a native method's function.
    pub native_function: Option<u64>,
    pub stale: Option<Stale>,
}

impl JavaFrame {
    /// A frame of the JVM's own code.
    pub(super) fn stub(name: &str) -> Self {
        Self { kind: JavaFrameKind::Stub, method: name.into(), ..Self::unknown(None) }
    }

    /// A frame without a name, because of `stale`.
    pub(super) fn unknown(stale: Option<Stale>) -> Self {
        Self {
            kind: JavaFrameKind::Unknown,
            class: Arc::default(),
            method: Arc::default(),
            signature: Arc::default(),
            file: None,
            line: None,
            bci: None,
            tier: None,
            native: false,
            native_function: None,
            stale,
        }
    }

    /// `package.Class.method`, the stub's name, or `[unknown: reason]`.
    pub fn function(&self) -> String {
        match (self.kind, &self.stale) {
            (JavaFrameKind::Method, _) => format!("{}.{}", self.class, self.method),
            (JavaFrameKind::Stub, _) => self.method.to_string(),
            (JavaFrameKind::Continuation, _) => "[virtual thread: older frames are in the heap]".to_owned(),
            (JavaFrameKind::Unknown, Some(stale)) => format!("[unknown: {stale}]"),
            (JavaFrameKind::Unknown, None) => "[unknown: not a Java frame]".to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn functions() {
        assert_eq!(JavaFrame::stub("ic_miss_stub").function(), "ic_miss_stub");
        assert_eq!(JavaFrame::unknown(Some(Stale::Nmethod(7))).function(), "[unknown: stale nmethod #7]");
        let method = JavaFrame {
            kind: JavaFrameKind::Method,
            class: "java.lang.Thread".into(),
            method: "run".into(),
            ..JavaFrame::unknown(None)
        };
        assert_eq!(method.function(), "java.lang.Thread.run");
    }
}
