//! Names of nmethods that may be gone by the time a frame of theirs is seen.
//!
//! An nmethod is named when it is installed (the JVM's own load event) or found by a walk over the
//! code cache, and bound to its blob's address *and* compile id, which no other compilation of the
//! run has: so a remembered name is never another's.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

/// nmethods remembered at most; the oldest are forgotten. About 200 bytes each.
const MAX_REMEMBERED: usize = 1 << 16;

/// An nmethod of this run of the JVM: its blob's address and compile id.
pub(super) type Key = (u64, u32);

/// The outermost method of an nmethod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Remembered {
    pub(super) class: Arc<str>,
    pub(super) method: Arc<str>,
    pub(super) signature: Arc<str>,
}

/// What is remembered.
#[derive(Debug, Default)]
pub(super) struct History {
    names: HashMap<Key, Remembered>,
    order: VecDeque<Key>,
}

impl History {
    pub(super) fn insert(&mut self, key: Key, name: Remembered) {
        if self.names.insert(key, name).is_none() {
            self.order.push_back(key);
        }
        if self.order.len() > MAX_REMEMBERED
            && let Some(oldest) = self.order.pop_front()
        {
            self.names.remove(&oldest);
        }
    }

    pub(super) fn get(&self, key: Key) -> Option<&Remembered> {
        self.names.get(&key)
    }

    pub(super) fn len(&self) -> usize {
        self.names.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounded_and_by_compile_id() {
        let mut history = History::default();
        let name = |id: u32| Remembered {
            class: format!("C{id}").into(),
            method: "m".into(),
            signature: "()V".into(),
        };
        for id in 0..MAX_REMEMBERED as u32 + 10 {
            history.insert((0x1000, id), name(id));
        }
        history.insert((0x1000, 20), name(20));
        assert_eq!(history.len(), MAX_REMEMBERED);
        assert_eq!(history.get((0x1000, 9)), None, "forgotten");
        assert_eq!(history.get((0x1000, 20)).map(|name| &*name.class), Some("C20"));
        assert_eq!(history.get((0x2000, 20)), None, "another blob");
    }
}
