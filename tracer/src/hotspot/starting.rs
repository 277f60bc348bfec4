//! A JVM that starts, asked again and again whether it describes itself by now.

use super::read::Reader;
use super::symbols::Symbols;
use super::vmstructs::VmStructs;
use super::{Hotspot, HotspotError, THREAD_COUNT};
use crate::target::memory::ProcessMemory;

/// A JVM of which nobody knows yet how far it is. To ask costs one read, once its tables are there.
#[derive(Debug)]
pub struct Starting {
    symbols: Symbols,
    /// Address of the number of Java threads.
    thread_count: Option<u64>,
}

impl Starting {
    /// The JVM whose libjvm has these symbols.
    pub fn new(symbols: Symbols) -> Self {
        Self { symbols, thread_count: None }
    }

    /// Opens it, if it has come far enough.
    ///
    /// # Errors
    /// As [`Hotspot::open`].
    pub fn open(&mut self, memory: impl ProcessMemory + Send + 'static) -> Result<Hotspot, HotspotError> {
        if self.thread_count.is_some_and(|address| Reader::new(&memory).u32(address) == Ok(0)) {
            return Err(HotspotError::NotReady("no Java thread yet"));
        }
        if self.thread_count.is_none() {
            let structs = VmStructs::read(&self.symbols, &memory);
            self.thread_count = structs.and_then(|structs| structs.address(&[THREAD_COUNT])).ok();
        }
        Hotspot::with_symbols(self.symbols.clone(), memory)
    }
}
