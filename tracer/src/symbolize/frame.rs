//! A named frame: what every stage from `symbolize` on knows of one level of a stack.
//!
//! Plain data, without lookups: `symbolize` makes it, `recording` keeps it, the rest reads it.

use std::fmt;

use serde::{Deserialize, Serialize};

/// One level of a stack with its name.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Frame {
    /// Java: `package.Class.method`. Native: demangled. Without a name: `[unknown: reason]`.
    pub function: String,
    pub kind: FrameKind,
    /// The ELF file as the target's `maps` has it, or `[vdso]`. Among Java methods only native ones have one: where
    /// their function is, which has no frame of its own if it ends in a jump to what it calls.
    pub module: Option<String>,
    /// Lower-case hexadecimal.
    pub build_id: Option<String>,
    /// Source file.
    pub file: Option<String>,
    /// Line number, from 1.
    pub line: Option<u32>,
    /// Offset in the module's file: finds better symbols later.
    pub offset: Option<u64>,
    /// Way in which a Java method was run. Among native functions only inlined ones have one.
    pub tier: Option<Tier>,
    /// Reason why `function` is `[unknown: ...]`.
    pub unknown: Option<UnknownReason>,
}

impl Frame {
    /// A frame that has nothing but a name.
    pub fn named(function: impl Into<String>, kind: FrameKind) -> Frame {
        Frame {
            function: function.into(),
            kind,
            module: None,
            build_id: None,
            file: None,
            line: None,
            offset: None,
            tier: None,
            unknown: None,
        }
    }

    /// A frame without a name, and why.
    pub fn unknown(kind: FrameKind, reason: UnknownReason) -> Frame {
        Frame { unknown: Some(reason), ..Frame::named(format!("[unknown: {reason}]"), kind) }
    }
}

/// Kind of code that a frame is in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum FrameKind {
    Native,
    Java,
    /// Code that the JVM made, of no Java method: stubs, adapters, the interpreter.
    Stub,
    Kernel,
}

impl FrameKind {
    /// Name in reports and recordings.
    pub const fn as_str(self) -> &'static str {
        match self {
            FrameKind::Native => "native",
            FrameKind::Java => "java",
            FrameKind::Stub => "stub",
            FrameKind::Kernel => "kernel",
        }
    }
}

/// Way in which a Java method was run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Tier {
    Interpreted,
    C1,
    C2,
    /// Compiled into its caller.
    Inlined,
}

impl Tier {
    /// Name in reports and recordings.
    pub const fn as_str(self) -> &'static str {
        match self {
            Tier::Interpreted => "interpreted",
            Tier::C1 => "c1",
            Tier::C2 => "c2",
            Tier::Inlined => "inlined",
        }
    }
}

/// Reason why a frame has no name. Not a failure: the address is known, its name is not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum UnknownReason {
    /// The address is in no mapping.
    NoMapping,
    /// The mapping has no file, and the code is not the JVM's.
    NoFile,
    /// The file is gone, was replaced, or cannot be read.
    UnreadableFile,
    /// The file has no symbol that covers the address.
    NoSymbol,
    /// The compiled method was freed before its name was read.
    FreedCode,
    /// The class was unloaded before the method's name was read.
    UnloadedClass,
    /// The target's memory could not be read.
    UnreadableMemory,
    /// The JVM's data structures are not understood.
    UnsupportedJvm,
    /// Frames of a virtual thread that lie in the Java heap.
    Continuation,
}

impl UnknownReason {
    /// Text in `[unknown: ...]`.
    pub const fn as_str(self) -> &'static str {
        match self {
            UnknownReason::NoMapping => "no mapping",
            UnknownReason::NoFile => "no file",
            UnknownReason::UnreadableFile => "unreadable file",
            UnknownReason::NoSymbol => "no symbol",
            UnknownReason::FreedCode => "freed code",
            UnknownReason::UnloadedClass => "unloaded class",
            UnknownReason::UnreadableMemory => "unreadable memory",
            UnknownReason::UnsupportedJvm => "unsupported JVM",
            UnknownReason::Continuation => "frames of a virtual thread in the heap",
        }
    }
}

impl fmt::Display for UnknownReason {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.as_str())
    }
}
