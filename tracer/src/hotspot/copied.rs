//! Copies of nmethods: all that it takes to name any of their pcs when they are gone.
//!
//! Taken when an nmethod is installed, found in the code cache, or first seen on a stack. Methods are
//! shared with all other copies; debug information is the nmethod's own. An nmethod that was torn while it was copied
//! is refused: `resolve` looks again at the nmethod afterwards.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use super::frame::Tier;
use super::method::Method;
use super::nmethod::Debug;

/// An nmethod, as it was.
#[derive(Debug)]
pub(super) struct Copied {
    pub(super) code: Range<u64>,
    pub(super) tier: Option<Tier>,
    /// Method of the nmethod itself: the outermost of all its frames.
    pub(super) outer: Arc<Method>,
    pub(super) debug: Debug,
    /// Methods by index in the nmethod's metadata; without those that could not be read.
    pub(super) methods: BTreeMap<u32, Arc<Method>>,
}

/// A method that was running at a pc.
#[derive(Clone, Debug)]
pub(super) struct CopiedScope<'a> {
    /// `None` if it could not be read when the nmethod was copied.
    pub(super) method: Option<&'a Arc<Method>>,
    pub(super) bci: u32,
}

impl Copied {
    /// The methods at `pc`, innermost first; never none. `None` if the copy does not cover it.
    pub(super) fn scopes(&self, pc: u64) -> Option<Vec<CopiedScope<'_>>> {
        if !self.code.contains(&pc) {
            return None;
        }
        let Some(scopes) = self.debug.scopes(pc - self.code.start).ok()? else {
            return Some(vec![CopiedScope { method: Some(&self.outer), bci: 0 }]);
        };
        let named = |(index, bci)| CopiedScope { method: self.methods.get(&index), bci };
        let scopes: Vec<_> = scopes.into_iter().map(named).collect();
        // The outermost scope is the nmethod's own method: anything else is torn.
        let is_whole = scopes.last()?.method.is_some_and(|method| Arc::ptr_eq(method, &self.outer));
        is_whole.then_some(scopes)
    }

    /// Bytes that it takes in memory, but for the methods, which others share.
    pub(super) fn bytes(&self) -> usize {
        size_of::<Self>() + self.debug.bytes() + self.methods.len() * 2 * size_of::<(u32, Arc<Method>)>()
    }
}
