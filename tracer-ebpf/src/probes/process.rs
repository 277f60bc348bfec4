//! Threads and the process: creation, end, exec.

use aya_ebpf::{
    helpers::{bpf_get_current_comm, bpf_probe_read_kernel},
    macros::{raw_tracepoint, uprobe},
    programs::{ProbeContext, RawTracePointContext},
};
use tracer_common::{
    record::{ThreadRecord, kind},
    stack::StackId,
};

use crate::{config, emit, in_flight, log, stop, unwind};

const CLONE_THREAD: u64 = 0x0001_0000;

/// `task_newtask`: (the new task, flags of clone). It fires in the creator, whose name the new one has.
#[raw_tracepoint]
pub fn task_newtask(ctx: RawTracePointContext) -> i32 {
    if config::target_thread().is_none() {
        return 0;
    }
    let (task, flags) = (ctx.arg::<*const u8>(0), ctx.arg::<u64>(1));
    let tid = task.wrapping_add(config::get().kernel.task_pid as usize).cast::<u32>();
    // SAFETY: a kernel address; the helper checks it.
    if flags & CLONE_THREAD != 0
        && let Ok(tid) = unsafe { bpf_probe_read_kernel(tid) }
    {
        let stack = unwind::capture_syscall();
        send(kind::THREAD_START, tid, stack, bpf_get_current_comm().unwrap_or([0; 16]));
    }
    0
}

/// Sends an event. A function of its own: the record would lie on the BPF stack below a walk.
#[inline(never)]
fn send(kind: u32, subject_tid: u32, stack: StackId, comm: [u8; 16]) {
    emit::send(&ThreadRecord { header: emit::header(kind), subject_tid, reserved: 0, stack, comm });
}

/// `sched_process_exit`, in the thread that ends.
#[raw_tracepoint]
pub fn sched_process_exit(ctx: RawTracePointContext) -> i32 {
    if let Some(thread) = config::target_thread() {
        log!(&ctx, "thread {} ends", thread as u32);
        in_flight::forget(thread);
        about_self(kind::THREAD_EXIT, thread);
    }
    0
}

/// `sched_process_exec`, in the thread that is now the new program.
#[raw_tracepoint]
pub fn sched_process_exec(ctx: RawTracePointContext) -> i32 {
    if let Some(thread) = config::target_thread() {
        log!(&ctx, "process {} becomes another program", thread as u32);
        about_self(kind::EXEC, thread);
    }
    0
}

#[inline(always)]
fn about_self(kind: u32, thread: u64) {
    emit::send(&ThreadRecord {
        header: emit::header(kind),
        subject_tid: thread as u32,
        reserved: 0,
        stack: StackId::ABSENT,
        comm: bpf_get_current_comm().unwrap_or([0; 16]),
    });
}

/// The C library's `_exit` or `abort`, of a target that was started for the recording: a moment later its memory is
/// gone, which is still read when recording is off.
#[uprobe]
pub fn exiting(_ctx: ProbeContext) -> u32 {
    if config::thread_of_target().is_some() {
        stop::at_end();
    }
    0
}
