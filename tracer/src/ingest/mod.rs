//! Bytes of the BPF programs → typed events and counters.
//!
//! Takes maps and ring buffer; gives [`event::Event`]s, counters, totals and live allocations. Does not
//! know what they mean, nor the time, nor `/proc`.

pub mod batch;
pub mod decode;
pub mod event;
mod live;
mod mapped;
pub mod replay;
pub mod ring;
pub mod tables;
