//! The JVM's Java threads: thread ids and names in full.
//!
//! The list is freed and replaced as threads come and go, and the collector moves names while they
//! are read: so the list is read again if it changed, and a name counts only if it is read the same
//! twice.
//! Source: HotSpot, `runtime/{threadSMR,javaThread,osThread}.hpp`.

use std::ops::Range;

use super::layout::{ThreadLayout, ThreadsLayout};
use super::oops::{Objects, wide};
use super::read::{ListGuard, ReadError, Reader, pointer};
use crate::process::InnerTid;

/// Threads of one JVM.
const MAX_THREADS: u64 = 1 << 16;
/// A stack is not larger.
const MAX_STACK_BYTES: u64 = 16 << 30;
/// Readings of a list or name that changes under us.
const ATTEMPTS: usize = 8;

/// A Java thread.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct JavaThread {
    /// Thread id in the JVM's own pid namespace.
    pub tid: InnerTid,
    /// `Thread.getName()`; none if it could not be read (a thread that starts or ends, a JVM whose
    /// objects are not understood). The first 15 bytes are in `/proc/PID/task/TID/comm` too, but for
    /// the main thread's.
    pub name: Option<String>,
    /// Stack of the thread with all guard zones; none if the JVM does not say it.
    pub stack: Option<Range<u64>>,
}

/// The Java threads that the JVM lists now. A virtual thread is in none: its carrier is.
///
/// # Errors
/// The list could not be read the same twice.
pub(super) fn read(
    reader: Reader<'_>,
    layout: &ThreadLayout,
    objects: Option<&Objects>,
) -> Result<Vec<JavaThread>, ReadError> {
    let mut last = Err(ReadError::OutOfBounds(0));
    for _ in 0..ATTEMPTS {
        last = list(reader, layout).and_then(|addresses| match list(reader, layout)? == addresses {
            true => Ok(addresses),
            false => Err(ReadError::OutOfBounds(0)),
        });
        if last.is_ok() {
            break;
        }
    }
    let thread = |address| {
        let os_thread = reader.pointer_field(address, layout.os_thread).ok()?;
        let tid = u32::try_from(reader.field(os_thread, layout.tid).ok()?).ok().filter(|tid| *tid != 0)?;
        let tid = InnerTid(tid);
        let name = objects.and_then(|objects| name(reader, layout, objects, address));
        Some(JavaThread { tid, name, stack: stack(reader, layout, address) })
    };
    Ok(last?.into_iter().filter_map(thread).collect())
}

/// The stack of the thread at `address`.
pub(super) fn stack(reader: Reader<'_>, layout: &ThreadLayout, address: u64) -> Option<Range<u64>> {
    let (base, size) = layout.stack?;
    let end = reader.pointer_field(address, base).ok()?;
    let bytes = reader.field(address, size).ok()?;
    let start = end.checked_sub(bytes)?;
    (0 < bytes && bytes <= MAX_STACK_BYTES).then_some(start..end)
}

/// Addresses of the threads.
pub(super) fn list(reader: Reader<'_>, layout: &ThreadLayout) -> Result<Vec<u64>, ReadError> {
    match layout.list {
        ThreadsLayout::Array { list, length, threads } => {
            let list = reader.pointer(list)?;
            let length = reader.field(list, length)?;
            let bytes = length.checked_mul(8).ok_or(ReadError::OutOfBounds(length))?;
            if length == 0 {
                return Ok(Vec::new());
            }
            let array =
                reader.bytes(reader.pointer_field(list, threads)?, bytes, 8 * MAX_THREADS as usize)?;
            let address = |bytes: &[u8]| pointer(u64::from_le_bytes(bytes.try_into().unwrap_or_default()));
            array.chunks_exact(8).map(address).collect()
        }
        ThreadsLayout::Linked { first, next } => {
            let mut addresses = Vec::new();
            let mut guard = ListGuard::default();
            let mut address = reader.u64(first)?;
            while address != 0 {
                guard.pass(address)?;
                if addresses.len() as u64 >= MAX_THREADS {
                    return Err(ReadError::OutOfBounds(MAX_THREADS));
                }
                addresses.push(pointer(address)?);
                address = reader.field(address, next)?;
            }
            Ok(addresses)
        }
    }
}

/// The name of the thread at `address`, if it is read the same twice in a row.
fn name(reader: Reader<'_>, layout: &ThreadLayout, objects: &Objects, address: u64) -> Option<String> {
    let read = || {
        let object = reader.field(address, layout.object).ok()?;
        let object = if layout.object_is_handle { reader.u64(pointer(object).ok()?).ok()? } else { object };
        objects.thread_name(reader, wide(object).ok()?).ok()
    };
    let mut before = read();
    for _ in 0..ATTEMPTS {
        let again = read();
        if again.is_some() && again == before {
            return again;
        }
        before = again;
    }
    None
}
