//! Compiled code: how much the JVM installed and dropped in the session.

use std::collections::{HashMap, VecDeque};
use std::hash::{BuildHasher, RandomState};

use crate::ingest::event::Nmethod;

/// Methods that are kept apart at most; others count as never dropped.
const METHODS_MAX: usize = 1 << 20;

/// Cumulative since the session started.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CodeTotals {
    pub loaded_bytes: u64,
    pub loaded_count: u64,
    /// Bytes unloaded of code that was loaded in the session.
    pub unloaded_bytes: u64,
    pub unloaded_count: u64,
}

/// The code that was installed in the session and is still there.
#[derive(Debug, Default)]
pub struct Code {
    /// Sizes of a method's versions, the oldest first, by a hash of class, method and signature. When one is dropped
    /// the JVM says its name alone; it is the oldest, mostly.
    versions: HashMap<u64, VecDeque<u64>>,
    hasher: RandomState,
    totals: CodeTotals,
}

impl Code {
    /// A method's code was installed.
    pub fn loaded(&mut self, nmethod: &Nmethod) {
        self.totals.loaded_bytes = self.totals.loaded_bytes.saturating_add(nmethod.size_bytes);
        self.totals.loaded_count += 1;
        let key = self.key(nmethod);
        if self.versions.len() < METHODS_MAX || self.versions.contains_key(&key) {
            self.versions.entry(key).or_default().push_back(nmethod.size_bytes);
        }
    }

    /// A method's code was dropped.
    pub fn unloaded(&mut self, nmethod: &Nmethod) {
        let key = self.key(nmethod);
        let Some(versions) = self.versions.get_mut(&key) else { return };
        if let Some(size_bytes) = versions.pop_front() {
            self.totals.unloaded_bytes = self.totals.unloaded_bytes.saturating_add(size_bytes);
            self.totals.unloaded_count += 1;
        }
        if versions.is_empty() {
            self.versions.remove(&key);
        }
    }

    /// Totals of all events.
    pub fn totals(&self) -> CodeTotals {
        self.totals
    }

    fn key(&self, nmethod: &Nmethod) -> u64 {
        self.hasher.hash_one((&nmethod.class, &nmethod.method, &nmethod.signature))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_version_of_a_method_goes_first() {
        let nmethod = |method: &str, size_bytes| Nmethod {
            code: 0x1000,
            size_bytes,
            class: "com/acme/Feed".to_owned(),
            method: method.to_owned(),
            signature: "()V".to_owned(),
        };
        let mut code = Code::default();
        code.loaded(&nmethod("open", 100));
        code.loaded(&nmethod("open", 1_000));
        code.loaded(&nmethod("close", 7));
        code.unloaded(&nmethod("open", 0));
        // Loaded before the session.
        code.unloaded(&nmethod("main", 0));
        let expected =
            CodeTotals { loaded_bytes: 1_107, loaded_count: 3, unloaded_bytes: 100, unloaded_count: 1 };
        assert_eq!(code.totals(), expected);
        code.unloaded(&nmethod("open", 0));
        code.unloaded(&nmethod("open", 0));
        assert_eq!(code.totals().unloaded_bytes, 1_100);
    }
}
