//! Threads and collections of the session, as rows of the recording.

use super::RecordError;
use crate::{
    process::{Pid, Tid},
    recording::{self, Writer},
    session::{Session, collections::Collection, threads::Thread},
};

/// Adds the threads that process `pid` has already, with their names as the kernel has them.
pub(super) fn add_present_threads(pid: Pid, session: &mut Session) {
    for tid in pid.threads().into_iter().flatten() {
        if let Some(name) = pid.thread_name(tid) {
            session.threads.present(tid, name);
        }
    }
}

/// Writes the threads and collections that ended since the last call.
///
/// # Errors
/// The recording cannot be written.
pub(super) fn write_ended(session: &mut Session, writer: &mut Writer) -> Result<(), RecordError> {
    for (tid, thread) in session.threads.take_ended() {
        write_thread(writer, tid, &thread)?;
    }
    write_collections(session, writer)
}

/// Writes the threads that are still there, and the collections that ended or are under way.
///
/// # Errors
/// The recording cannot be written.
pub(super) fn write_rest(session: &mut Session, writer: &mut Writer) -> Result<(), RecordError> {
    for (tid, thread) in session.threads.iter() {
        write_thread(writer, tid, thread)?;
    }
    write_collections(session, writer)?;
    for &Collection { begin_ns, end_ns, full } in session.collections.under_way() {
        writer.gc(recording::Collection { begin_ns, end_ns, full })?;
    }
    Ok(())
}

/// Writes the collections that ended or turned out to be full since the last call.
///
/// # Errors
/// The recording cannot be written.
pub(super) fn write_collections(session: &mut Session, writer: &mut Writer) -> Result<(), RecordError> {
    let became_full = session.collections.take_full();
    for &Collection { begin_ns, end_ns, full } in session.collections.take_ended().iter().chain(&became_full)
    {
        writer.gc(recording::Collection { begin_ns, end_ns, full })?;
    }
    Ok(())
}

fn write_thread(writer: &mut Writer, tid: Tid, thread: &Thread) -> Result<(), RecordError> {
    let name = Some(thread.name.as_str()).filter(|name| !name.is_empty());
    writer.thread(tid, name, thread.started_ns, thread.ended_ns, thread.creator_stack)?;
    Ok(())
}
