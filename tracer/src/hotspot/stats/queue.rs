//! Methods that wait for a compiler.
//!
//! Source: HotSpot, `compiler/compileBroker.hpp`: a queue's first word is its name, then the first and
//! last task. Each task has its link to the next one at an offset that is told by the queue's length.

use super::{StatsError, not_described, word};
use crate::hotspot::read::Reader;
use crate::hotspot::symbols::{COMPILE_QUEUES, Symbols};
use crate::hotspot::vmstructs::{Field, Width};

/// Bytes of a queue that are read: name, first, last, first stale task, length.
const QUEUE_BYTES: u64 = 40;
const NAME: Field = word(0);
const FIRST: Field = word(1);
const LENGTH: Field = Field { offset: 32, width: Width::Four };
/// Tasks of one queue.
const MAX_TASKS: u64 = 1 << 20;
const MAX_NAME: usize = 64;

/// A queue of methods to compile.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CompileQueue {
    /// "C1 compile queue", "C2 compile queue".
    pub name: String,
    pub length: u64,
}

pub(super) fn read(reader: Reader<'_>, symbols: &Symbols) -> Result<Vec<CompileQueue>, StatsError> {
    let variables: Vec<u64> = COMPILE_QUEUES.iter().filter_map(|name| symbols.address(name)).collect();
    if variables.is_empty() {
        return Err(not_described("its compile queues"));
    }
    let mut queues = Vec::new();
    // A JVM with one compiler has one queue.
    for variable in variables {
        let queue = reader.u64(variable)?;
        if queue == 0 {
            continue;
        }
        let record = reader.record(queue, QUEUE_BYTES)?;
        let name = reader.c_string(record.field(NAME)?, MAX_NAME)?;
        let length = record.field(LENGTH)?;
        let holds = name.ends_with("compile queue")
            && length <= MAX_TASKS
            && (length == 0) == (record.field(FIRST)? == 0);
        if !holds {
            return Err(not_described("its compile queues as known"));
        }
        queues.push(CompileQueue { name, length });
    }
    Ok(queues)
}
