//! A JVM that starts, asked again and again whether it describes itself by now.

use super::read::Reader;
use super::symbols::Symbols;
use super::vmstructs::VmStructs;
use super::{Hotspot, HotspotError, THREAD_COUNT};
use crate::process::memory::ProcessMemory;

/// A JVM of which nobody knows yet how far it is. To ask costs one read, once its tables are there.
#[derive(Debug)]
pub struct Starting {
    symbols: Symbols,
    /// Structures that it describes, as read last.
    structs: Option<VmStructs>,
    /// The structures were read twice, and the same: the tables are full.
    is_settled: bool,
    /// Address of the number of Java threads.
    thread_count: Option<u64>,
}

impl Starting {
    /// The JVM whose libjvm has these symbols.
    pub fn new(symbols: Symbols) -> Self {
        Self { symbols, structs: None, is_settled: false, thread_count: None }
    }

    /// Is the JVM so far that it can probably be opened? It may run Java code from now on.
    fn has_threads(&self, memory: &impl ProcessMemory) -> bool {
        self.thread_count.is_some_and(|address| Reader::new(memory).u32(address).is_ok_and(|count| count > 0))
    }

    /// Opens it, if it has come far enough.
    ///
    /// # Errors
    /// As [`Hotspot::open`].
    pub fn open(&mut self, memory: impl ProcessMemory + Send + 'static) -> Result<Hotspot, HotspotError> {
        let has_threads = self.has_threads(&memory);
        if let Some(structs) = self.structs.as_ref().filter(|_| has_threads && self.is_settled) {
            return Hotspot::described(self.symbols.clone(), structs, memory);
        }
        if self.is_settled {
            return Err(HotspotError::NotReady("no Java thread yet"));
        }
        // While there is time for it.
        let structs = VmStructs::read(&self.symbols, &memory).ok().filter(|structs| !structs.is_empty());
        self.thread_count = structs.as_ref().and_then(|structs| structs.address(&[THREAD_COUNT]).ok());
        self.is_settled = self.thread_count.is_some() && structs == self.structs;
        self.structs = structs;
        if self.thread_count.is_some() && !self.has_threads(&memory) {
            return Err(HotspotError::NotReady("no Java thread yet"));
        }
        Hotspot::with_symbols(self.symbols.clone(), memory)
    }
}
