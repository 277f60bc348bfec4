//! Stacks with two numbers, as `difffolded.pl` writes them and tools for differential flame graphs read them.

use std::io::{self, Write};

use crate::output::Options;
use crate::output::kind::Kind;
use crate::output::stacks::{Level, Levels, levels, line, source};
use crate::profile::diff::{Diff, SitePair};

/// A stack, root first, and its bytes in the view.
pub(super) struct Both {
    pub(super) category: String,
    pub(super) levels: Vec<Level>,
    pub(super) base: u64,
    pub(super) new: u64,
}

/// The stacks of both, of one source. Sites beyond `options.top` are one, so that the sums stay the same.
pub(super) fn both(diff: &Diff, options: &Options, levels: Levels) -> Vec<Both> {
    let source = source(options, diff.sites.iter().map(|site| site.source));
    let counted = |site: &&SitePair| site.source == source;
    let bytes =
        |site: &SitePair| (options.view.bytes(&site.totals.base), options.view.bytes(&site.totals.new));
    let top = options.top.unwrap_or(usize::MAX);
    let mut stacks = Vec::new();
    let mut rest = (0_u64, 0_u64);
    let shown = diff.sites.iter().filter(counted).filter(|site| bytes(site) != (0, 0));
    for (at, site) in shown.enumerate() {
        let (base, new) = bytes(site);
        if at < top {
            let (category, levels) = (site.category.clone(), levels(site.into(), options));
            stacks.push(Both { category, levels, base, new });
        } else {
            rest = (rest.0.saturating_add(base), rest.1.saturating_add(new));
        }
    }
    if rest != (0, 0) {
        let name = "[other sites]".to_owned();
        let levels = vec![Level { name: name.clone(), kind: Kind::Missing }];
        stacks.push(Both { category: name, levels, base: rest.0, new: rest.1 });
    }
    stacks
}

/// Writes a line for each site: `root;...;leaf base new`.
///
/// # Errors
/// Writing failed.
pub fn folded(diff: &Diff, options: &Options, out: &mut dyn Write) -> io::Result<()> {
    for stack in both(diff, options, levels) {
        line(&stack.levels, out)?;
        writeln!(out, " {} {}", stack.base, stack.new)?;
    }
    Ok(())
}
