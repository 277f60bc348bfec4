//! Frames of the JVM, as `hotspot` names them, in the form that all stages from here on use.

use tracer_common::unwind::{self, frame_kind};

use super::frame::{Frame, FrameKind, Tier, UnknownReason};
use super::name::clean;
use crate::hotspot::{self, JavaFrame, JavaFrameKind, Stale};

/// The frames that a frame of the JVM stands for, innermost first. For code that was gone before it was read only
/// the outermost method is known: a frame without a name stands for what was inlined in it.
/// `module_of` tells the file that has the code at an address.
pub(super) fn frames(
    java: &JavaFrame,
    module_of: &mut dyn FnMut(u64) -> Option<String>,
) -> impl Iterator<Item = Frame> + use<> {
    let gap = match java.stale {
        _ if java.kind != JavaFrameKind::Method => None,
        Some(Stale::Nmethod(_)) => Some(UnknownReason::FreedCode),
        Some(Stale::Unreadable) => Some(UnknownReason::UnreadableMemory),
        Some(Stale::Method) | None => None,
    };
    let gap = gap.map(|reason| Frame::unknown(FrameKind::Java, reason));
    let module = java.native_function.and_then(module_of);
    gap.into_iter().chain([Frame { module, ..frame(java) }])
}

/// A frame as the JVM tells it.
fn frame(java: &JavaFrame) -> Frame {
    let kind = match java.kind {
        JavaFrameKind::Method => FrameKind::Java,
        JavaFrameKind::Stub => FrameKind::Stub,
        JavaFrameKind::Continuation => return Frame::unknown(FrameKind::Java, UnknownReason::Continuation),
        JavaFrameKind::Unknown => {
            let reason = match java.stale {
                Some(Stale::Nmethod(_)) => UnknownReason::FreedCode,
                Some(Stale::Method) => UnknownReason::UnloadedClass,
                Some(Stale::Unreadable) => UnknownReason::UnreadableMemory,
                None => UnknownReason::UnsupportedJvm,
            };
            return Frame::unknown(FrameKind::Java, reason);
        }
    };
    Frame {
        file: java.file.as_deref().map(clean),
        line: java.line.filter(|line| *line > 0),
        tier: java.tier.and_then(tier),
        ..Frame::named(clean(&java.function()), kind)
    }
}

/// The wrapper of a native method is none of the ways to run bytecode.
fn tier(tier: hotspot::Tier) -> Option<Tier> {
    match tier {
        hotspot::Tier::Interpreted => Some(Tier::Interpreted),
        hotspot::Tier::C1 => Some(Tier::C1),
        hotspot::Tier::C2 => Some(Tier::C2),
        hotspot::Tier::Inlined => Some(Tier::Inlined),
        hotspot::Tier::Native => None,
    }
}

/// A frame of a JVM that is not understood, or not yet.
pub(super) fn without_jvm(frame: &unwind::Frame) -> Frame {
    match frame.kind {
        frame_kind::CONTINUATION => Frame::unknown(FrameKind::Java, UnknownReason::Continuation),
        frame_kind::STUB => Frame::unknown(FrameKind::Stub, UnknownReason::UnsupportedJvm),
        _ => Frame::unknown(FrameKind::Java, UnknownReason::UnsupportedJvm),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    fn method() -> JavaFrame {
        JavaFrame {
            kind: JavaFrameKind::Method,
            class: "com.example.Load".into(),
            method: "run".into(),
            signature: "()V".into(),
            file: Some("Load.java".into()),
            line: Some(12),
            bci: Some(3),
            tier: Some(hotspot::Tier::C2),
            native: false,
            native_function: None,
            stale: None,
        }
    }

    #[test]
    fn methods_stubs_and_what_has_no_name() {
        let named = frame(&method());
        assert_eq!((named.function.as_str(), named.kind), ("com.example.Load.run", FrameKind::Java));
        assert_eq!(
            (named.file.as_deref(), named.line, named.tier),
            (Some("Load.java"), Some(12), Some(Tier::C2))
        );
        let stub = JavaFrame {
            kind: JavaFrameKind::Stub,
            class: Arc::default(),
            method: "ic_miss_stub".into(),
            ..method()
        };
        assert_eq!((frame(&stub).function.as_str(), frame(&stub).kind), ("ic_miss_stub", FrameKind::Stub));
        for (stale, reason) in [
            (Some(Stale::Nmethod(7)), UnknownReason::FreedCode),
            (Some(Stale::Method), UnknownReason::UnloadedClass),
            (Some(Stale::Unreadable), UnknownReason::UnreadableMemory),
            (None, UnknownReason::UnsupportedJvm),
        ] {
            let lost = frame(&JavaFrame { kind: JavaFrameKind::Unknown, stale, ..method() });
            assert_eq!((lost.unknown, lost.kind), (Some(reason), FrameKind::Java));
            assert_eq!(lost.function, format!("[unknown: {reason}]"));
        }
    }

    #[test]
    fn a_class_name_cannot_command_a_terminal() {
        let odd = JavaFrame { class: "a.B\u{1b}[2J".into(), line: Some(0), ..method() };
        assert_eq!(frame(&odd).function, "a.B\u{fffd}[2J.run");
        assert_eq!(frame(&odd).line, None);
    }
}
