//! Stacks that a person would call the same are one site.

use std::collections::HashMap;

use crate::recording::{Recording, Stack};
use crate::symbolize::{Frame, FrameKind};

/// Numbers the distinct things that a person sees in a frame.
///
/// A Java method is the same interpreted, compiled or inlined, at the same line; a native function
/// is the same wherever in it the call is. Without a name, the offset is all there is.
pub(super) fn frame_names(frames: &[Frame]) -> Vec<u32> {
    let mut names = HashMap::new();
    frames
        .iter()
        .map(|frame| {
            let offset = frame.offset.filter(|_| frame.unknown.is_some());
            let key = (&frame.function, frame.kind, &frame.module, &frame.file, frame.line, offset);
            let next = u32::try_from(names.len()).unwrap_or(u32::MAX);
            *names.entry(key).or_insert(next)
        })
        .collect()
}

/// Key that tells sites apart, beside source and category: the frames as a person sees them. Stubs of
/// the JVM come and go with the way a method is run, so they do not count.
pub(super) fn key(recording: &Recording, stack: &Stack, names: &[u32]) -> Vec<u32> {
    let shown = |&frame: &u32| {
        let at = usize::try_from(frame).ok()?;
        let counts = recording.frames.get(at)?.kind != FrameKind::Stub;
        names.get(at).copied().filter(|_| counts)
    };
    let mut key = Vec::with_capacity(stack.frames.len());
    key.extend(stack.frames.iter().filter_map(shown));
    key
}
