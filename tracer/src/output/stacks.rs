//! Sites as stacks with bytes: what folded output and flame graphs have in common.

use std::io::{self, Write};

use super::calls::Calls;
use super::{Options, label};
use crate::profile::{Profile, Site};
use crate::symbolize::FrameKind;

/// What a frame is, as far as pictures tell them apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Kind {
    Category,
    Java,
    /// The JVM: libjvm, stubs, adapters, the interpreter.
    Jvm,
    Native,
    Kernel,
    /// No frame, but a word on what is not there.
    Missing,
}

/// One level of a stack.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Level {
    pub(super) name: String,
    pub(super) kind: Kind,
}

/// A stack, root first, and its bytes in the view.
pub(super) struct Weighted {
    pub(super) category: String,
    pub(super) levels: Vec<Level>,
    pub(super) bytes: u64,
}

/// The stacks of a profile: of the allocator, or of all that is left if one category was kept.
/// Sites beyond `options.top` are one, so that the sum stays the same.
pub(super) fn weighted(profile: &Profile, options: &Options) -> Vec<Weighted> {
    let counted = |site: &&Site| options.category.is_some() || site.source == "allocator";
    let shown = |site: &&Site| options.view.shows(site);
    let top = options.top.unwrap_or(usize::MAX);
    let mut stacks = Vec::new();
    let mut rest_bytes = 0_u64;
    let mut sites: Vec<&Site> = profile.sites.iter().filter(counted).filter(shown).collect();
    sites.sort_by_key(|site| std::cmp::Reverse(options.view.bytes(&site.totals)));
    for (at, site) in sites.into_iter().enumerate() {
        let bytes = options.view.bytes(&site.totals);
        if at < top {
            stacks.push(Weighted { category: site.category.clone(), levels: levels(site.into()), bytes });
        } else {
            rest_bytes = rest_bytes.saturating_add(bytes);
        }
    }
    if rest_bytes > 0 {
        let name = "[other sites]".to_owned();
        let levels = vec![Level { name: name.clone(), kind: Kind::Missing }];
        stacks.push(Weighted { category: name, levels, bytes: rest_bytes });
    }
    stacks
}

/// The levels of a site, root first. A stack that is not complete says so where its root is not.
pub(super) fn levels(site: Calls<'_>) -> Vec<Level> {
    let missing = |name: String| Level { name, kind: Kind::Missing };
    let stop = site.stop.map(label::clean);
    let mut levels = Vec::with_capacity(site.frames.len() + 1);
    match site.complete {
        Some(true) => {}
        Some(false) => levels.push(missing(format!("[incomplete: {}]", stop.unwrap_or_default()))),
        None => levels.push(missing("[stack not received]".to_owned())),
    }
    levels.extend(site.frames.iter().rev().map(|frame| {
        let of_jvm = frame.module.as_deref().is_some_and(|module| module.ends_with("/libjvm.so"));
        let kind = match frame.kind {
            FrameKind::Java => Kind::Java,
            FrameKind::Stub => Kind::Jvm,
            FrameKind::Kernel => Kind::Kernel,
            FrameKind::Native if of_jvm => Kind::Jvm,
            FrameKind::Native => Kind::Native,
        };
        Level { name: label::function(frame), kind }
    }));
    levels
}

/// Writes a stack as folded lines have it, root first, without what it weighs.
///
/// Java methods end in `_[j]` and kernel functions in `_[k]`, which tools for flame graphs colour by.
pub(super) fn line(levels: &[Level], out: &mut dyn Write) -> io::Result<()> {
    for (at, level) in levels.iter().enumerate() {
        if at > 0 {
            out.write_all(b";")?;
        }
        // The separator has no escape.
        out.write_all(level.name.replace(';', ":").as_bytes())?;
        out.write_all(match level.kind {
            Kind::Java => b"_[j]",
            Kind::Kernel => b"_[k]",
            _ => b"",
        })?;
    }
    Ok(())
}
