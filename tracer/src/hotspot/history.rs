//! nmethods that may be gone by the time a frame of theirs is seen.
//!
//! An nmethod is copied when it is installed (the JVM's own load event), found by a walk over the
//! code cache, or first seen; and bound to its blob's address *and* compile id, which no other
//! compilation of the run has: so a remembered name is never another's. When there are too many, the
//! oldest keep the name of their outermost method only, and then nothing.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use super::copied::Copied;

/// nmethods of which at least the outermost method is remembered. About 200 bytes each.
const MAX_REMEMBERED: usize = 1 << 16;
/// Bytes of copies at most. An nmethod takes some 2 to 20 KB.
const MAX_COPIED_BYTES: usize = 96 << 20;

/// An nmethod of this run of the JVM: its blob's address and compile id.
pub(super) type Key = (u64, u32);

/// The outermost method of an nmethod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Remembered {
    pub(super) class: Arc<str>,
    pub(super) method: Arc<str>,
    pub(super) signature: Arc<str>,
}

/// Names that are remembered.
#[derive(Debug, Default)]
pub(super) struct History {
    names: HashMap<Key, Remembered>,
    names_order: VecDeque<Key>,
    copies: HashMap<Key, Arc<Copied>>,
    copies_order: VecDeque<Key>,
    copied_bytes: usize,
}

impl History {
    pub(super) fn insert(&mut self, key: Key, name: Remembered) {
        if self.names.insert(key, name).is_none() {
            self.names_order.push_back(key);
        }
        if self.names_order.len() > MAX_REMEMBERED
            && let Some(oldest) = self.names_order.pop_front()
        {
            self.names.remove(&oldest);
        }
    }

    pub(super) fn get(&self, key: Key) -> Option<&Remembered> {
        self.names.get(&key)
    }

    /// Keeps a copy. The first one of a key stays.
    pub(super) fn keep(&mut self, key: Key, copied: Arc<Copied>) {
        let bytes = copied.bytes();
        if bytes > MAX_COPIED_BYTES || self.copies.contains_key(&key) {
            return;
        }
        while self.copied_bytes.saturating_add(bytes) > MAX_COPIED_BYTES {
            let Some(oldest) = self.copies_order.pop_front() else { break };
            let forgotten = self.copies.remove(&oldest).map_or(0, |copied| copied.bytes());
            self.copied_bytes = self.copied_bytes.saturating_sub(forgotten);
        }
        self.copied_bytes = self.copied_bytes.saturating_add(bytes);
        self.copies.insert(key, copied);
        self.copies_order.push_back(key);
    }

    pub(super) fn copied(&self, key: Key) -> Option<&Arc<Copied>> {
        self.copies.get(&key)
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
