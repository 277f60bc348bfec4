//! Mapping calls that succeeded: one record each, whichever way they are seen.

use tracer_common::{
    arch::system_call,
    counter::Counter,
    record::{MappingRecord, kind, mapping_call},
    stack::StackId,
};

use crate::{counters, emit, in_flight, maps, unwind};

/// Results from here up are negated error numbers.
const ERRORS: u64 = -4095_i64 as u64;

/// A mapping call at its return.
pub struct MappingCall {
    /// The system call's number.
    pub number: u32,
    pub arguments: [u64; 5],
    pub result: u64,
}

impl MappingCall {
    /// The number among [`mapping_call`] of the system call `number`; 0: none.
    #[inline(always)]
    fn kind(number: u32) -> u32 {
        match number {
            system_call::MMAP => mapping_call::MMAP,
            system_call::MPROTECT => mapping_call::MPROTECT,
            system_call::MUNMAP => mapping_call::MUNMAP,
            system_call::BRK => mapping_call::BRK,
            system_call::MREMAP => mapping_call::MREMAP,
            system_call::MADVISE => mapping_call::MADVISE,
            _ => 0,
        }
    }

    /// Puts a record of the call, which `thread` made, into the ring buffer, if it succeeded. With the stack of a call
    /// that maps memory, if `WALKS`.
    #[inline(always)]
    pub fn record<const WALKS: bool>(&self, thread: u64) {
        if self.result >= ERRORS {
            return;
        }
        let [a0, a1, a2, a3, a4] = self.arguments;
        let result = self.result;
        let call = Self::kind(self.number);
        if call == 0 {
            return;
        }
        let maps_memory = matches!(call, mapping_call::MMAP | mapping_call::MREMAP | mapping_call::BRK);
        let in_allocator = in_flight::inside(thread);
        let stack =
            if WALKS && maps_memory && !in_allocator { unwind::capture_syscall() } else { StackId::ABSENT };
        // In the ring buffer at once: the walk needs the BPF stack.
        let Some(mut entry) = maps::EVENTS.reserve::<MappingRecord>(0) else {
            counters::add(Counter::LostEvent, 1);
            return;
        };
        let record = entry.as_mut_ptr();
        // SAFETY: the reserved bytes; every field is written before they are submitted.
        unsafe {
            *record = MappingRecord::ZERO;
            (*record).header = emit::header(kind::MAPPING);
            (*record).call = call;
            (*record).address = a0;
            (*record).length_bytes = a1;
            (*record).stack = stack;
            (*record).in_allocator = in_allocator as u64;
            match call {
                mapping_call::MMAP => {
                    (*record).address = result;
                    (*record).protection = a2 as u32;
                    (*record).flags = a3;
                    (*record).argument = a4;
                }
                mapping_call::MREMAP => {
                    (*record).address = result;
                    (*record).length_bytes = a2;
                    (*record).flags = a3;
                    (*record).argument = a0;
                    (*record).argument2 = a1;
                }
                mapping_call::BRK => {
                    (*record).address = result;
                    (*record).length_bytes = 0;
                }
                mapping_call::MPROTECT => (*record).protection = a2 as u32,
                mapping_call::MADVISE => (*record).argument = a2,
                _ => {}
            }
        }
        entry.submit(0);
    }
}
