//! Owner of the code of a frame, by which pictures and pages colour and fold by.

use crate::profile::SiteFrame;
use crate::symbolize::FrameKind;

/// Packages of the JDK.
const OF_JDK: [&str; 5] = ["java.", "javax.", "jdk.", "sun.", "com.sun."];
/// Libraries of the JDK that run a JVM, and the JVM itself.
const OF_JVM: [&str; 2] = ["libjvm.so", "libjli.so"];
/// Functions of libc that every thread begins with.
const ENTRIES: [&str; 8] = [
    "clone",
    "__clone",
    "clone3",
    "__clone3",
    "start_thread",
    "_start",
    "__libc_start_main",
    "__libc_start_call_main",
];

/// Kind of a level of a stack.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Kind {
    /// Java that is not the JDK's.
    Application,
    Jdk,
    /// The JVM: libjvm, its launcher, stubs, adapters, the interpreter.
    Jvm,
    Native,
    Kernel,
    /// No frame, but a word on what is not there; or a frame without a name.
    Missing,
    /// The C library begins a thread here.
    Entry,
    /// No frame, but the category of what is below it.
    Category,
}

impl Kind {
    pub(super) fn of(frame: &SiteFrame) -> Self {
        match frame.kind {
            FrameKind::Java if is_of_jdk(&frame.function) => Kind::Jdk,
            FrameKind::Java => Kind::Application,
            FrameKind::Stub => Kind::Jvm,
            FrameKind::Kernel => Kind::Kernel,
            FrameKind::Native if is_of_jvm(frame) => Kind::Jvm,
            FrameKind::Native if is_nameless(frame) => Kind::Missing,
            FrameKind::Native if is_entry(frame) => Kind::Entry,
            FrameKind::Native => Kind::Native,
        }
    }
}

/// Is a class of this name in a package of the JDK? `name`: of a class, or of a method with its class.
pub(super) fn is_of_jdk(name: &str) -> bool {
    OF_JDK.iter().any(|begin| name.starts_with(begin))
}

/// Is the frame an address of a library without symbols?
pub(super) fn is_nameless(frame: &SiteFrame) -> bool {
    frame.function.starts_with("[unknown")
}

fn is_entry(frame: &SiteFrame) -> bool {
    let name = frame.function.split('@').next().unwrap_or_default();
    ENTRIES.contains(&name)
}

fn is_of_jvm(frame: &SiteFrame) -> bool {
    // Redacted modules have no folder.
    let file = frame.module.as_deref().and_then(|module| module.rsplit('/').next());
    file.is_some_and(|file| OF_JVM.contains(&file))
}
