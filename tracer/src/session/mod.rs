//! Sums of the events of a session: mappings, threads, collections.
//!
//! Takes [`Event`]s; gives totals. Pure: time comes from the events, and nothing is read or written.

pub mod budget;
pub mod code;
pub mod collections;
pub mod intervals;
pub mod mappings;

pub mod first_touches;
pub mod threads;

use crate::ingest::event::{Event, EventKind};

/// A session so far.
#[derive(Debug, Default)]
pub struct Session {
    pub mappings: mappings::Mappings,
    pub threads: threads::Threads,
    pub collections: collections::Collections,
    pub code: code::Code,
    pub touched: first_touches::TouchEstimator,
}

impl Session {
    /// Takes in one event.
    pub fn apply(&mut self, event: &Event) {
        match &event.kind {
            EventKind::Mapping(record) => {
                self.mappings.apply(record, self.threads.frees_for_the_collector(event.tid));
            }
            EventKind::ThreadStarted { tid, comm, stack } => {
                self.threads.started(*tid, comm.clone(), event.time_ns, *stack);
            }
            EventKind::ThreadExited { tid, comm } => self.threads.ended(*tid, comm, event.time_ns),
            // The event's own thread id: the JVM's may be of another pid namespace.
            EventKind::JavaThreadStarted { name, .. } => self.threads.named(event.tid, name.clone()),
            EventKind::GcBegan { full } => {
                self.collections.begin(event.time_ns, *full);
            }
            EventKind::NmethodLoaded(nmethod) => self.code.loaded(nmethod),
            EventKind::NmethodUnloaded(nmethod) => self.code.unloaded(nmethod),
            EventKind::FirstTouch { address, stack, log2_weight } => {
                self.touched.add(event.time_ns, *stack, *address, *log2_weight);
            }
            EventKind::GcEnded => self.collections.end(event.time_ns),
            _ => {}
        }
    }
}
