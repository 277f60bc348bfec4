//! Cycles of concurrent collectors, by the JVM's own performance counters: the probes tell of their pauses alone, and
//! not which of these looked at the whole heap and unloaded classes.
//!
//! Source: HotSpot, `runtime/perfMemory.hpp` and `perfData.hpp`, version 2.0 of the format (JDK 5 to 28);
//! `services/*MonitoringSupport.cpp` and `zServiceability.cpp` for the names of the counters.

use super::{StatsError, not_described};
use crate::hotspot::read::{Reader, pointer};
use crate::hotspot::symbols::{PERF_MEMORY, Symbols};

/// Beginning of the memory, as a big-endian number.
const MAGIC: u32 = 0xcafe_c0c0;
/// Fields of the prologue: major version, bytes used, where the entries begin, how many there are.
const PROLOGUE_BYTES: usize = 32;
const MAJOR: usize = 5;
const USED: usize = 8;
const FIRST_ENTRY: usize = 24;
const ENTRIES: usize = 28;
/// Bytes of an entry.
const ENTRY_BYTES: usize = 20;
const NAME: usize = 4;
const TYPE: usize = 12;
const DATA: usize = 16;
/// Type of an entry: a number, or text.
const LONG: u8 = b'J';
const BYTE: u8 = b'B';
/// `-XX:PerfDataMemorySize` is 32 KiB by default, and some hundred counters take most of it.
const MAX_BYTES: usize = 1 << 20;
const MAX_ENTRIES: u32 = 1 << 14;

/// Names of collectors' cycles that look at the whole heap, and how many pauses one has at most.
const CYCLES: [(&str, u64); 5] = [
    ("G1 concurrent cycle pauses", 2),
    // G1, to JDK 12.
    ("G1 stop-the-world phases", 2),
    // ZGC without generations.
    ("Z concurrent cycle pauses", 3),
    ("ZGC major collection pauses", 8),
    ("Shenandoah full", 16),
];

/// The pauses of concurrent cycles since the JVM's start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConcurrentCycles {
    pub pause_count: u64,
    /// Pauses of one cycle, at most.
    pub pauses_per_cycle: u64,
}

/// `None` if the collector has no such cycles.
pub(super) fn read(reader: Reader<'_>, symbols: &Symbols) -> Result<Option<ConcurrentCycles>, StatsError> {
    let variable = symbols.address(PERF_MEMORY).ok_or_else(|| not_described("its performance counters"))?;
    let start = pointer(reader.u64(variable)?)?;
    let prologue = reader.bytes(start, PROLOGUE_BYTES as u64, PROLOGUE_BYTES)?;
    let is_known =
        number(&prologue, 0).map(u32::swap_bytes) == Some(MAGIC) && prologue.get(MAJOR) == Some(&2);
    let used = number(&prologue, USED).filter(|_| is_known);
    let used = used.ok_or_else(|| not_described("its performance counters as known"))?;
    Ok(cycles(&reader.bytes(start, u64::from(used), MAX_BYTES)?))
}

/// The cycles among the counters of a whole memory.
fn cycles(memory: &[u8]) -> Option<ConcurrentCycles> {
    let count = number(memory, ENTRIES)?.min(MAX_ENTRIES);
    let mut at = number(memory, FIRST_ENTRY)? as usize;
    // Each collector's number, name and pauses.
    let mut names = Vec::new();
    let mut pauses = Vec::new();
    for _ in 0..count {
        let Some(entry) = memory.get(at..) else { break };
        let Some(length) = number(entry, 0).filter(|length| *length as usize >= ENTRY_BYTES) else { break };
        let data = number(entry, DATA).and_then(|data| entry.get(data as usize..length as usize));
        let name = number(entry, NAME).and_then(|name| text(entry.get(name as usize..length as usize)?));
        let collector = name.and_then(|name| name.strip_prefix("sun.gc.collector."));
        match (collector.and_then(|rest| rest.split_once('.')), entry.get(TYPE), data) {
            (Some((collector, "name")), Some(&BYTE), Some(data)) => {
                names.extend(text(data).map(|name| (collector, name)));
            }
            (Some((collector, "invocations")), Some(&LONG), Some(data)) => {
                let value = data.first_chunk().map(|bytes| u64::from_le_bytes(*bytes));
                pauses.extend(value.map(|value| (collector, value)));
            }
            _ => {}
        }
        at += length as usize;
    }
    names.iter().find_map(|(collector, name)| {
        let (_, pauses_per_cycle) = CYCLES.into_iter().find(|(cycle, _)| cycle == name)?;
        let (_, pause_count) = pauses.iter().find(|(other, _)| other == collector)?;
        Some(ConcurrentCycles { pause_count: *pause_count, pauses_per_cycle })
    })
}

fn number(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..)?.first_chunk().map(|bytes| u32::from_le_bytes(*bytes))
}

/// The text before the first NUL.
fn text(bytes: &[u8]) -> Option<&str> {
    let length = bytes.iter().position(|byte| *byte == 0)?;
    std::str::from_utf8(bytes.get(..length)?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn memory(entries: &[(&str, u8, &[u8])]) -> Vec<u8> {
        let mut memory = vec![0; PROLOGUE_BYTES];
        memory[FIRST_ENTRY] = PROLOGUE_BYTES as u8;
        memory[ENTRIES] = entries.len() as u8;
        for (name, kind, data) in entries {
            let data_at = (ENTRY_BYTES + name.len() + 1).next_multiple_of(8);
            let length = (data_at + data.len()).next_multiple_of(8);
            let mut entry = vec![0; length];
            entry[0] = length as u8;
            entry[NAME] = ENTRY_BYTES as u8;
            entry[TYPE] = *kind;
            entry[DATA] = data_at as u8;
            entry[ENTRY_BYTES..ENTRY_BYTES + name.len()].copy_from_slice(name.as_bytes());
            entry[data_at..data_at + data.len()].copy_from_slice(data);
            memory.extend(entry);
        }
        memory
    }

    #[test]
    fn pauses_of_whole_cycles() {
        let all = memory(&[
            ("sun.gc.collector.0.invocations", LONG, &7_u64.to_le_bytes()),
            ("sun.gc.collector.0.name", BYTE, b"ZGC minor collection pauses\0"),
            ("sun.gc.collector.2.name", BYTE, b"ZGC major collection pauses\0"),
            ("sun.gc.collector.2.invocations", LONG, &300_u64.to_le_bytes()),
        ]);
        assert_eq!(cycles(&all), Some(ConcurrentCycles { pause_count: 300, pauses_per_cycle: 8 }));
        let without = memory(&[("sun.gc.collector.0.name", BYTE, b"PSScavenge\0")]);
        assert_eq!(cycles(&without), None);
    }

    proptest::proptest! {
        #[test]
        fn any_bytes_end(bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..400)) {
            let _ = cycles(&bytes);
        }
    }
}
