//! Direct buffers: the counters in `java.nio.Bits`, read from its static fields.
//!
//! Source: JDK, `java/nio/Bits.java`: three `AtomicLong`s, in lower case to JDK 10. Buffers that other
//! code makes by `Unsafe.allocateMemory` (Netty can) are not in them.

use super::loaders::bootstrap_class;
use super::{StatsError, not_described};
use crate::hotspot::java_fields;
use crate::hotspot::layout::Layout;
use crate::hotspot::oops::{Objects, wide};
use crate::hotspot::read::{ReadError, Reader, pointer};

const BITS: &str = "java/nio/Bits";
/// Static fields of it, by the names that they have had.
const RESERVED: [&str; 2] = ["RESERVED_MEMORY", "reservedMemory"];
const CAPACITY: [&str; 2] = ["TOTAL_CAPACITY", "totalCapacity"];
const COUNT: [&str; 2] = ["COUNT", "count"];
const LIMIT: [&str; 2] = ["MAX_MEMORY", "maxMemory"];
/// Readings of what changes, or is moved, under us.
const ATTEMPTS: usize = 16;
/// No process has more.
const MAX_BYTES: u64 = 1 << 47;

/// Statistics that `java.nio.Bits` counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DirectBuffers {
    pub count: u64,
    /// Bytes that the program asked for.
    pub capacity_bytes: u64,
    /// Bytes with what page alignment adds.
    pub reserved_bytes: u64,
    /// The most that may be reserved; `None` if it is not known, or no buffer was ever made.
    pub limit_bytes: Option<u64>,
}

pub(super) fn read(
    reader: Reader<'_>,
    layout: &Layout,
    objects: Option<&Objects>,
) -> Result<DirectBuffers, StatsError> {
    let objects = objects.ok_or_else(|| not_described("its objects"))?;
    let loaders = layout.stats.loaders.as_ref().ok_or_else(|| not_described("its class loaders"))?;
    let mirrors = layout.stats.mirror.ok_or_else(|| not_described("static fields"))?;
    // Not loaded: no direct buffer was ever made.
    let Some(bits) = bootstrap_class(reader, layout, loaders, BITS)? else {
        return Ok(DirectBuffers::default());
    };
    let mirror = || -> Result<u64, ReadError> {
        let mirror = reader.field(bits, mirrors.mirror)?;
        wide(if mirrors.is_handle { reader.u64(pointer(mirror)?)? } else { mirror })
    };
    let field = |names: [&str; 2]| {
        let offset = |name| java_fields::offset(reader, layout, objects.layout(), bits, name);
        offset(names[0]).or_else(|_| offset(names[1]))
    };
    let places = [field(COUNT)?, field(CAPACITY)?, field(RESERVED)?];
    let limit = field(LIMIT).ok();
    let once = || -> Result<DirectBuffers, ReadError> {
        let mirror = mirror()?;
        let mut values = [0; 3];
        for (value, place) in values.iter_mut().zip(places) {
            *value = match objects.reference(reader, mirror + place) {
                Ok(counter) => counter_value(reader, layout, objects, counter)?,
                // Not initialized yet.
                Err(ReadError::BadPointer(0)) => 0,
                Err(error) => return Err(error),
            };
        }
        let [count, capacity_bytes, reserved_bytes] = values;
        let limit_bytes = limit.and_then(|place| reader.u64(mirror + place).ok());
        let limit_bytes = limit_bytes.filter(|bytes| (1..=MAX_BYTES).contains(bytes));
        Ok(DirectBuffers { count, capacity_bytes, reserved_bytes, limit_bytes })
    };
    let mut last = once();
    for _ in 0..ATTEMPTS {
        let again = once();
        match (&last, again) {
            (Ok(before), Ok(again)) if *before == again => return Ok(again),
            (_, again) => last = again,
        }
    }
    // They change all the time: any reading is true of its moment.
    Ok(last?)
}

/// The value of the `AtomicLong` at `object`.
fn counter_value(
    reader: Reader<'_>,
    layout: &Layout,
    objects: &Objects,
    object: u64,
) -> Result<u64, ReadError> {
    let class = objects.class(reader, object)?;
    let offset = java_fields::offset(reader, layout, objects.layout(), class, "value")?;
    let value = reader.u64(object + offset)?;
    if value > MAX_BYTES { Err(ReadError::OutOfBounds(value)) } else { Ok(value) }
}
