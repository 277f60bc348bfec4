//! Sites as stacks with bytes: what folded output and flame graphs have in common.

use std::io::{self, Write};

use super::calls::Calls;
use super::kind::Kind;
use super::{Options, label};
use crate::profile::{Profile, Site, SiteFrame};

/// A level of a stack.
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

/// Source of the stacks that are counted: bytes asked of the allocator and mapped ones are never added up.
pub(super) fn source(options: &Options, mut of_sites: impl Iterator<Item = &'static str>) -> &'static str {
    let told = options.source;
    let is_mapped = options.category.is_some() && !of_sites.any(|source| source == "allocator");
    told.unwrap_or(if is_mapped { "mapping" } else { "allocator" })
}

/// Function by which a stack becomes levels.
pub(super) type Levels = fn(Calls<'_>, &Options) -> Vec<Level>;

/// The stacks of a profile, of one source. Sites beyond `options.top` are one, so that the sum stays the same.
pub(super) fn weighted(profile: &Profile, options: &Options, levels: Levels) -> Vec<Weighted> {
    let source = source(options, profile.sites.iter().map(|site| site.source));
    let counted = |site: &&Site| site.source == source;
    let shown = |site: &&Site| options.view.shows(site);
    let top = options.top.unwrap_or(usize::MAX);
    let mut stacks = Vec::new();
    let mut rest_bytes = 0_u64;
    for (at, site) in profile.sites.iter().filter(counted).filter(shown).enumerate() {
        let bytes = options.view.bytes(&site.totals);
        if at < top {
            stacks.push(Weighted {
                category: site.category.clone(),
                levels: levels(site.into(), options),
                bytes,
            });
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

/// Name in place of a missing root, if it is not complete.
pub(super) fn missing_root(site: Calls<'_>) -> Option<String> {
    match site.complete {
        Some(true) => None,
        Some(false) => Some(format!("[incomplete: {}]", site.stop.map(label::clean).unwrap_or_default())),
        None => Some("[stack not received]".to_owned()),
    }
}

/// The levels of a site, root first, or leaf first if they are inverted. A stack that is not complete says so where its
/// root is not.
pub(super) fn levels(site: Calls<'_>, options: &Options) -> Vec<Level> {
    let mut levels = Vec::with_capacity(site.frames.len() + 1);
    levels.extend(missing_root(site).map(|name| Level { name, kind: Kind::Missing }));
    levels.extend(site.frames.iter().rev().map(|frame| level(frame, options)));
    if options.inverted {
        levels.reverse();
    }
    levels
}

/// A frame's level.
pub(super) fn level(frame: &SiteFrame, options: &Options) -> Level {
    let name = label::function(frame);
    let name = match frame.line.filter(|&line| options.lines && line > 0) {
        Some(line) => format!("{name}:{line}"),
        None => name,
    };
    Level { name, kind: Kind::of(frame) }
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
            Kind::Application | Kind::Jdk => b"_[j]",
            Kind::Kernel => b"_[k]",
            _ => b"",
        })?;
    }
    Ok(())
}
