//! What the events of a session add up to: mappings, threads, collections.
//!
//! Takes [`Event`]s; gives totals. Pure: time comes from the events, and nothing is read or written.

pub mod intervals;
pub mod mappings;
pub mod threads;

use crate::ingest::event::{Event, EventKind};

/// A session so far.
#[derive(Debug, Default)]
pub struct Session {
    pub mappings: mappings::Mappings,
    pub threads: threads::Threads,
    /// Collections: begin and end, `CLOCK_MONOTONIC` ns.
    collections: Vec<(u64, u64)>,
    /// When collections began that have not ended.
    collecting: Vec<u64>,
}

impl Session {
    /// Takes in one event.
    pub fn apply(&mut self, event: &Event) {
        match &event.kind {
            EventKind::Mapping(record) => self.mappings.apply(record),
            EventKind::ThreadStarted { tid, comm, stack } => {
                self.threads.started(*tid, comm.clone(), event.time_ns, *stack);
            }
            EventKind::ThreadExited { tid, comm } => self.threads.ended(*tid, comm, event.time_ns),
            // The event's own thread id: the JVM's may be of another pid namespace.
            EventKind::JavaThreadStarted { name, .. } => self.threads.named(event.tid, name.clone()),
            EventKind::GcBegan => self.collecting.push(event.time_ns),
            EventKind::GcEnded => {
                let began_ns = self.collecting.pop().unwrap_or(event.time_ns);
                self.collections.push((began_ns, event.time_ns));
            }
            _ => {}
        }
    }

    /// The collections that ended: begin and end, `CLOCK_MONOTONIC` ns.
    pub fn collections(&self) -> &[(u64, u64)] {
        &self.collections
    }
}
