//! Bytes of a record → [`Event`].

use tracer_common::{
    record::{
        AllocationRecord, FaultRecord, Header, JavaThreadRecord, MappingRecord, NmethodRecord, SAVED_OFFSET,
        SAVED_PAGE_BYTES, StackRecord, ThreadRecord, kind,
    },
    table::may_stop,
    unwind::Frame,
    walk::State,
};
use zerocopy::FromBytes;

use super::event::{DecodeError, Event, EventKind, Nmethod, Stack, UnwindCheckpoint};
use crate::process::{InnerTid, Tid};

/// Decodes one record of the ring buffer.
///
/// # Errors
/// It is shorter than its kind demands, or of no known kind.
pub fn decode(bytes: &[u8]) -> Result<Event, DecodeError> {
    let header: Header = prefix(bytes)?.0;
    let kind = match header.kind {
        kind::STACK => stack(bytes)?,
        kind::MAPPING => EventKind::Mapping(prefix::<MappingRecord>(bytes)?.0),
        kind::THREAD_START => {
            let record: ThreadRecord = prefix(bytes)?.0;
            EventKind::ThreadStarted {
                tid: Tid(record.subject_tid),
                comm: c_text(&record.comm),
                stack: record.stack.present(),
            }
        }
        kind::THREAD_EXIT => {
            let record: ThreadRecord = prefix(bytes)?.0;
            EventKind::ThreadExited { tid: Tid(record.subject_tid), comm: c_text(&record.comm) }
        }
        kind::EXEC => EventKind::Exec { comm: c_text(&prefix::<ThreadRecord>(bytes)?.0.comm) },
        kind::GC_BEGIN => EventKind::GcBegan { full: header.detail != 0 },
        kind::GC_END => EventKind::GcEnded,
        kind::NMETHOD_LOAD => EventKind::NmethodLoaded(nmethod(bytes)?),
        kind::NMETHOD_UNLOAD => EventKind::NmethodUnloaded(nmethod(bytes)?),
        kind::JAVA_THREAD_START => {
            let (os_tid, name) = java_thread(bytes)?;
            EventKind::JavaThreadStarted { os_tid, name }
        }
        kind::JAVA_THREAD_STOP => {
            let (os_tid, name) = java_thread(bytes)?;
            EventKind::JavaThreadStopped { os_tid, name }
        }
        kind::ALLOCATION => EventKind::Allocated(prefix::<AllocationRecord>(bytes)?.0),
        kind::FREE => EventKind::Freed(prefix::<AllocationRecord>(bytes)?.0),
        kind::FAULT => {
            let record: FaultRecord = prefix(bytes)?.0;
            EventKind::FirstTouch {
                address: record.address,
                stack: record.stack,
                log2_weight: record.header.detail,
            }
        }
        kind::STOPPED => EventKind::Stopped { is_exiting: header.detail == may_stop::AT_END },
        other => return Err(DecodeError::UnknownKind(other)),
    };
    Ok(Event { time_ns: header.time_ns, tid: Tid(header.tid), gc_epoch: header.epoch, kind })
}

fn prefix<T: FromBytes>(bytes: &[u8]) -> Result<(T, &[u8]), DecodeError> {
    T::read_from_prefix(bytes).map_err(|_| DecodeError::TooShort(bytes.len()))
}

fn stack(bytes: &[u8]) -> Result<EventKind, DecodeError> {
    let (record, rest): (StackRecord, _) = prefix(bytes)?;
    let length = (record.frame_count as usize).checked_mul(size_of::<Frame>());
    let frames = length
        .and_then(|length| rest.get(..length))
        .ok_or(DecodeError::TooShort(bytes.len()))?
        .chunks_exact(size_of::<Frame>())
        .filter_map(|chunk| Frame::read_from_bytes(chunk).ok())
        .collect();
    let rest = match record.saved_bytes as usize {
        0 => None,
        length => {
            let end = SAVED_OFFSET.checked_add(length);
            // It begins with the page that the stack pointer is in.
            let start = SAVED_OFFSET + record.last_sp as usize % SAVED_PAGE_BYTES;
            let saved = end.and_then(|end| bytes.get(start..end));
            let bytes = saved.ok_or(DecodeError::TooShort(bytes.len()))?.to_vec();
            let StackRecord { last_pc, last_sp, last_fp, last_flags, .. } = record;
            Some(Box::new(UnwindCheckpoint {
                state: State::with_flags(last_pc, last_sp, last_fp, last_flags),
                bytes,
            }))
        }
    };
    Ok(EventKind::Stack(Stack { id: record.stack, frames, stop: record.stop, last_pc: record.last_pc, rest }))
}

fn nmethod(bytes: &[u8]) -> Result<Nmethod, DecodeError> {
    let record: NmethodRecord = prefix(bytes)?.0;
    Ok(Nmethod {
        code: record.code,
        size_bytes: record.size_bytes,
        class: text(&record.class, record.class_length),
        method: text(&record.method, record.method_length),
        signature: text(&record.signature, record.signature_length),
    })
}

fn java_thread(bytes: &[u8]) -> Result<(InnerTid, String), DecodeError> {
    let record: JavaThreadRecord = prefix(bytes)?.0;
    Ok((InnerTid(record.os_tid), text(&record.name, record.name_length)))
}

fn text(bytes: &[u8], length: u32) -> String {
    String::from_utf8_lossy(bytes.get(..length as usize).unwrap_or(bytes)).into_owned()
}

/// The text before the first NUL byte.
fn c_text(bytes: &[u8]) -> String {
    let text = bytes.split(|byte| *byte == 0).next().unwrap_or_default();
    String::from_utf8_lossy(text).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use tracer_common::stack::StackId;
    use tracer_common::unwind::{Stop, frame_kind};
    use zerocopy::IntoBytes;

    fn stack_bytes(frame_count: u32, frames: &[Frame]) -> Vec<u8> {
        let record = StackRecord {
            header: Header { kind: kind::STACK, tid: 7, time_ns: 9, epoch: 2, detail: 0 },
            stack: StackId(42),
            last_pc: 0x10,
            frame_count,
            stop: Stop::Complete as u32,
            ..StackRecord::ZERO
        };
        let mut bytes = record.as_bytes().to_vec();
        frames.iter().for_each(|frame| bytes.extend_from_slice(frame.as_bytes()));
        bytes
    }

    #[test]
    fn a_stack_with_its_frames() {
        let frame = Frame { pc: 0x1234, aux: 0, kind: frame_kind::NATIVE, extra: 0 };
        let event = decode(&stack_bytes(2, &[frame, frame])).unwrap();
        assert_eq!((event.tid, event.time_ns, event.gc_epoch), (Tid(7), 9, 2));
        let EventKind::Stack(stack) = event.kind else { panic!("{event:?}") };
        assert_eq!((stack.id.0, stack.frames.len(), stack.is_complete()), (42, 2, true));
    }

    #[test]
    fn a_collection_says_whether_it_is_full() {
        for (detail, is_full) in [(0, false), (1, true)] {
            let header = Header { kind: kind::GC_BEGIN, tid: 7, time_ns: 9, epoch: 2, detail };
            let event = decode(header.as_bytes()).expect("a collection");
            assert!(matches!(event.kind, EventKind::GcBegan { full } if full == is_full), "{event:?}");
        }
    }

    #[test]
    fn a_stack_that_lies_about_its_length() {
        for count in [2, u32::MAX] {
            assert!(matches!(decode(&stack_bytes(count, &[])), Err(DecodeError::TooShort(_))));
        }
    }

    #[test]
    fn a_stack_to_go_on_with() {
        use tracer_common::record::SAVED_BYTES;
        let record = StackRecord {
            header: Header { kind: kind::STACK, ..Header::ZERO },
            last_pc: 0x10,
            last_sp: 0x20,
            last_fp: 0x30,
            last_flags: 3,
            saved_bytes: 1024,
            ..StackRecord::ZERO
        };
        let mut bytes = record.as_bytes().to_vec();
        bytes.resize(SAVED_OFFSET + SAVED_BYTES, 7);
        let EventKind::Stack(stack) = decode(&bytes).unwrap().kind else { panic!() };
        let rest = *stack.rest.unwrap();
        assert_eq!(
            rest,
            UnwindCheckpoint { state: State::returned(0x10, 0x20, 0x30), bytes: vec![7; 1024 - 0x20] }
        );
        assert!(matches!(decode(&bytes[..SAVED_OFFSET + 1023]), Err(DecodeError::TooShort(_))));
    }

    #[test]
    fn no_length_and_no_kind_panics() {
        let mut bytes = stack_bytes(1, &[Frame::ZERO]);
        for kind in 0..20 {
            bytes[..4].copy_from_slice(&u32::to_le_bytes(kind));
            for length in 0..bytes.len() {
                let _ = decode(&bytes[..length]);
            }
        }
        assert_eq!(decode(&[0xff; 24]), Err(DecodeError::UnknownKind(u32::MAX)));
    }
}
