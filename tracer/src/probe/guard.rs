//! The guard: a small process that alone owns the probes' links, so that they go when the recorder is silent or dead.
//!
//! The kernel detaches a probe when the last descriptor of its link is closed. A recorder that is killed closes them
//! by that; one that is stopped (SIGSTOP), or gets no CPU, does not. So each link is handed to the guard and kept
//! nowhere else. The guard ends, and the links with it, when the recorder's end of the socket is closed, or when
//! nothing came from there for [`SILENCE`]. It then resumes a program that the recorder started (SIGCONT).
//!
//! It is forked from the recorder and does nothing but system calls: it takes no lock and no memory, which another
//! thread may have had in its hands at the fork.

mod closing;
mod messages;

use std::{
    io,
    os::fd::{AsRawFd, OwnedFd, RawFd},
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant},
};

use libc::sock_filter;

use self::messages::{LINKS_AT_ONCE, Message};
use crate::process::{
    Pid,
    privilege::{self, Capability, PROLOGUE, REFUSE, allow, allow_argument, by_argument},
};

/// The guard ends when it heard nothing from the recorder for so long.
pub const SILENCE: Duration = Duration::from_secs(6);

/// Capabilities of the guard: to resume a program that became another user's, and to have runs of programs counted.
const CAPABILITIES: [Capability; 2] = [Capability::Kill, Capability::SysAdmin];

/// Command of bpf(2) by which the kernel counts runs of programs as long as the descriptor lives, and what it counts.
const BPF_ENABLE_STATS: u32 = 32;
const BPF_STATS_RUN_TIME: u32 = 0;

/// Scheduling priority of the guard, which does almost nothing until it has to do it soon.
const NICE: libc::c_int = -10;

/// The system calls that a guard makes. Of bpf(2) it has that one command, and of clone(2) threads of its own.
const CALLS: [libc::c_long; 9] = [
    libc::SYS_ppoll,
    libc::SYS_recvmsg,
    libc::SYS_sendmsg,
    libc::SYS_close,
    libc::SYS_close_range,
    libc::SYS_pidfd_send_signal,
    libc::SYS_restart_syscall,
    libc::SYS_exit,
    libc::SYS_exit_group,
];

/// The filter of these calls.
static FILTER: [sock_filter; FILTER_LENGTH] = filter();
const FILTER_LENGTH: usize = PROLOGUE.len() + 2 * CALLS.len() + 9;

#[expect(clippy::indexing_slicing, reason = "of a constant: it does not compile where it would panic")]
const fn filter() -> [sock_filter; FILTER_LENGTH] {
    let mut filter = [REFUSE; FILTER_LENGTH];
    let mut at = 0;
    while at < PROLOGUE.len() {
        filter[at] = PROLOGUE[at];
        at += 1;
    }
    let mut call = 0;
    while call < CALLS.len() {
        [filter[at], filter[at + 1]] = allow(CALLS[call]);
        at += 2;
        call += 1;
    }
    [filter[at], filter[at + 1]] = by_argument(libc::SYS_bpf, 1);
    [filter[at + 2], filter[at + 3]] = allow_argument(BPF_ENABLE_STATS);
    // Another command of bpf(2) comes here with its number in place of the call's, and is none of these flags.
    [filter[at + 4], filter[at + 5]] = by_argument(libc::SYS_clone, 1);
    [filter[at + 6], filter[at + 7]] = allow_argument(closing::THREAD);
    filter
}

/// Time in which a guard ends that was told to.
const END: Duration = Duration::from_secs(1);

/// Descriptors that the guard can have. Each link is one; a JVM's probes need some 60.
const MAX_DESCRIPTORS: usize = 8192;

/// A set of links that are detached together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Group {
    /// Probes on the allocator.
    Allocator = 1,
    /// Probes other than those of [`Self::Exit`].
    Others = 2,
    /// Probes where the target ends, which stay longest.
    Exit = 3,
}

/// The recorder's side of the guard. When it is dropped, the guard ends and the links that it has are detached.
#[derive(Debug)]
pub struct Guard {
    socket: OwnedFd,
    pid: libc::pid_t,
    /// It did not answer once: it is not asked again, as each time would take as long.
    is_silent: AtomicBool,
}

impl Guard {
    /// Starts the guard. `started`: the program that the recorder started, which it resumes in the end.
    ///
    /// # Errors
    /// The kernel makes no socket or no process.
    pub fn start(started: Option<Pid>) -> io::Result<Self> {
        let (ours, its) = messages::pair()?;
        let started = started.map_or(0, Pid::raw);
        // SAFETY: the child does nothing but system calls (see the module) and never returns.
        match unsafe { libc::fork() } {
            -1 => Err(io::Error::last_os_error()),
            0 => run(its.as_raw_fd(), started),
            pid => Ok(Self { socket: ours, pid, is_silent: AtomicBool::new(false) }),
        }
    }

    /// Process id of the guard.
    pub fn pid(&self) -> Pid {
        Pid(self.pid.unsigned_abs())
    }

    /// Hands links over: after this they are the guard's alone.
    ///
    /// # Errors
    /// The guard is gone; the links are detached then.
    pub fn keep(&self, group: Group, links: Vec<OwnedFd>) -> io::Result<()> {
        let descriptors: Vec<RawFd> = links.iter().map(AsRawFd::as_raw_fd).collect();
        descriptors
            .chunks(LINKS_AT_ONCE)
            .try_for_each(|chunk| messages::send(self.socket.as_raw_fd(), Message::Keep(group as u8), chunk))
    }

    /// Takes the links of `group` back, to be detached by whoever drops them.
    ///
    /// # Errors
    /// The guard is gone, and the links with it.
    pub fn give_back(&self, group: Group) -> io::Result<Vec<OwnedFd>> {
        self.ask(Message::GiveBack(group as u8))?;
        let mut links = Vec::new();
        loop {
            let mut descriptors = [-1; LINKS_AT_ONCE];
            let count = self.answer(&mut descriptors)?;
            if count == 0 {
                return Ok(links);
            }
            links.extend(descriptors.iter().take(count).map(|descriptor| messages::own(*descriptor)));
        }
    }

    /// Makes the kernel count the runs of all programs as long as the descriptor lives. The guard does it, so that the
    /// recorder, which reads foreign memory, needs no CAP_SYS_ADMIN.
    ///
    /// # Errors
    /// The kernel refuses, or the guard is gone or does not run.
    pub fn count_runs(&self) -> io::Result<OwnedFd> {
        self.ask(Message::Count)?;
        let mut descriptors = [-1; LINKS_AT_ONCE];
        let count = self.answer(&mut descriptors)?;
        let counting = descriptors.first().filter(|_| count > 0).map(|descriptor| messages::own(*descriptor));
        counting.ok_or_else(|| io::ErrorKind::PermissionDenied.into())
    }

    fn ask(&self, message: Message) -> io::Result<()> {
        if self.is_silent.load(Ordering::Relaxed) {
            return Err(io::ErrorKind::TimedOut.into());
        }
        messages::send(self.socket.as_raw_fd(), message, &[])
    }

    /// Waits for an answer; gives how many `descriptors` came with it.
    fn answer(&self, descriptors: &mut [RawFd; LINKS_AT_ONCE]) -> io::Result<usize> {
        let answer = messages::receive(self.socket.as_raw_fd(), descriptors);
        self.is_silent.store(answer.is_err(), Ordering::Relaxed);
        answer.map(|(_, count)| count)
    }

    /// The socket by which [`beat`] tells the guard that the recorder runs; another descriptor of it.
    ///
    /// # Errors
    /// There are no more descriptors.
    pub fn socket(&self) -> io::Result<OwnedFd> {
        self.socket.try_clone()
    }
}

impl Drop for Guard {
    /// The guard is told to end, which works though [`Self::socket`] has given out other descriptors. One that is
    /// stopped does not hear it.
    fn drop(&mut self) {
        let told = messages::send(self.socket.as_raw_fd(), Message::End, &[]);
        let deadline = Instant::now() + END;
        let mut status = 0;
        loop {
            // SAFETY: waits for our own child, and writes to a local.
            match unsafe { libc::waitpid(self.pid, &raw mut status, libc::WNOHANG) } {
                0 if told.is_ok() && Instant::now() < deadline => thread::sleep(Duration::from_millis(1)),
                0 => break,
                _ => return,
            }
        }
        // SAFETY: as above; the pid is the child's until it was waited for.
        unsafe {
            libc::kill(self.pid, libc::SIGKILL);
            libc::waitpid(self.pid, &raw mut status, 0);
        }
    }
}

/// Tells the guard that the recorder runs.
///
/// # Errors
/// The guard is gone.
pub fn beat(socket: &OwnedFd) -> io::Result<()> {
    messages::send(socket.as_raw_fd(), Message::Beat, &[])
}

/// The guard's whole life.
fn run(socket: RawFd, started: libc::pid_t) -> ! {
    // SAFETY: system calls alone, on descriptors of this process and on locals.
    unsafe {
        // No terminal sends it a signal, and nobody else but by its pid.
        libc::setsid();
        libc::prctl(libc::PR_SET_NAME, c"tracer-guard".as_ptr());
        libc::prctl(libc::PR_SET_PDEATHSIG, 0);
        // Where that is not permitted, it has its turn with all others.
        libc::setpriority(libc::PRIO_PROCESS, 0, NICE);
        let stacks = closing::Stacks::map();
        let mut all = std::mem::zeroed();
        libc::sigfillset(&raw mut all);
        libc::sigprocmask(libc::SIG_BLOCK, &raw const all, std::ptr::null_mut());
        // Nothing of the recorder's stays open here but the socket, which is 0 from now on, and the program's.
        let program = if started > 0 { libc::syscall(libc::SYS_pidfd_open, started, 0) as RawFd } else { -1 };
        libc::dup2(socket, 0);
        if program >= 0 {
            libc::dup2(program, 1);
            libc::close_range(2, u32::MAX, 0);
        } else {
            libc::close_range(1, u32::MAX, 0);
        }
        // What the kernel refuses stays as it was.
        let _ = privilege::keep_only(&CAPABILITIES);
        let _ = privilege::filter_calls(&FILTER);
        let mut groups = [0_u8; MAX_DESCRIPTORS];
        serve(&mut groups);
        // The links first, so that nothing stops the program any more.
        closing::close(&groups, &stacks);
        libc::close_range(2, u32::MAX, 0);
        if program >= 0 {
            libc::syscall(libc::SYS_pidfd_send_signal, 1, libc::SIGCONT, 0, 0);
        }
        libc::_exit(0)
    }
}

/// Keeps links until the recorder is silent, ends, or says so.
fn serve(groups: &mut [u8; MAX_DESCRIPTORS]) {
    loop {
        let mut wait = libc::pollfd { fd: 0, events: libc::POLLIN, revents: 0 };
        let silence = libc::timespec { tv_sec: SILENCE.as_secs() as libc::time_t, tv_nsec: 0 };
        // SAFETY: one entry and a time, locals.
        match unsafe { libc::ppoll(&raw mut wait, 1, &raw const silence, std::ptr::null()) } {
            0 => return,
            -1 => continue,
            _ => {}
        }
        let mut descriptors = [-1; LINKS_AT_ONCE];
        let Ok((message, count)) = messages::receive(0, &mut descriptors) else { return };
        match message {
            Message::Beat => {}
            Message::Keep(group) => {
                for descriptor in descriptors.iter().take(count) {
                    if let Some(entry) = groups.get_mut(*descriptor as usize) {
                        *entry = group;
                    }
                }
            }
            Message::GiveBack(group) => give_back(groups, group),
            Message::Count => count_runs(),
            Message::End => return,
        }
    }
}

/// Sends a descriptor by which the kernel counts, or none if it refuses.
fn count_runs() {
    let attributes = BPF_STATS_RUN_TIME;
    // SAFETY: the kernel reads a local of the length that it is told.
    let counting = unsafe {
        libc::syscall(libc::SYS_bpf, BPF_ENABLE_STATS, &raw const attributes, size_of_val(&attributes))
    } as RawFd;
    if counting < 0 {
        let _ = messages::send(0, Message::Count, &[]);
        return;
    }
    let _ = messages::send(0, Message::Count, &[counting]);
    // SAFETY: the descriptor was just made, and is the recorder's from here on.
    unsafe { libc::close(counting) };
}

/// Sends the links of `group` back, then a message without any.
fn give_back(groups: &mut [u8; MAX_DESCRIPTORS], group: u8) {
    let mut sent = [-1; LINKS_AT_ONCE];
    let mut count = 0;
    for descriptor in 0..=MAX_DESCRIPTORS {
        let is_end = descriptor == MAX_DESCRIPTORS;
        if count == LINKS_AT_ONCE || (is_end && count > 0) {
            let links = sent.get(..count).unwrap_or_default();
            let _ = messages::send(0, Message::Keep(group), links);
            // SAFETY: descriptors that this process received, and has no other use for.
            links.iter().for_each(|link| unsafe {
                libc::close(*link);
            });
            count = 0;
        }
        if let Some(entry) = groups.get_mut(descriptor).filter(|entry| **entry == group)
            && let Some(slot) = sent.get_mut(count)
        {
            *entry = 0;
            *slot = descriptor as RawFd;
            count += 1;
        }
    }
    let _ = messages::send(0, Message::Keep(group), &[]);
}

#[cfg(test)]
mod tests {
    use std::{
        io::{Read, Write, pipe},
        net::{TcpListener, TcpStream},
        thread,
        time::Instant,
    };

    use super::*;

    /// Far longer than anything takes here, on a loaded machine, too.
    const LIMIT: Duration = Duration::from_secs(30);

    /// A pipe whose writing end stands for a link: the reading end tells when the last descriptor of it is closed.
    fn link() -> (io::PipeReader, OwnedFd) {
        let (reader, writer) = pipe().unwrap();
        (reader, writer.into())
    }

    fn is_closed_within(mut reader: io::PipeReader, limit: Duration) -> bool {
        let thread = thread::spawn(move || reader.read(&mut [0]).unwrap());
        let begun = Instant::now();
        while !thread.is_finished() && begun.elapsed() < limit {
            thread::sleep(Duration::from_millis(5));
        }
        thread.is_finished()
    }

    #[test]
    fn links_come_back_by_group() {
        let guard = Guard::start(None).unwrap();
        let (mut readers, mut links) = (Vec::new(), Vec::new());
        for _ in 0..LINKS_AT_ONCE + 3 {
            let (reader, writer) = link();
            readers.push(reader);
            links.push(writer);
        }
        let (other, writer) = link();
        guard.keep(Group::Others, vec![writer]).unwrap();
        guard.keep(Group::Allocator, links).unwrap();
        assert_eq!(guard.give_back(Group::Exit).unwrap().len(), 0);
        let back = guard.give_back(Group::Allocator).unwrap();
        assert_eq!(back.len(), LINKS_AT_ONCE + 3);
        drop(back);
        for reader in readers {
            assert!(is_closed_within(reader, LIMIT));
        }
        drop(guard);
        assert!(is_closed_within(other, LIMIT));
    }

    #[test]
    fn one_that_is_stopped_stops_nobody() {
        let guard = Guard::start(None).unwrap();
        let (reader, writer) = link();
        guard.keep(Group::Others, vec![writer]).unwrap();
        // SAFETY: a signal to this test's own child.
        assert_eq!(unsafe { libc::kill(guard.pid, libc::SIGSTOP) }, 0);
        let begun = Instant::now();
        for _ in 0..20 {
            assert!(guard.count_runs().is_err());
        }
        assert!(guard.give_back(Group::Others).is_err());
        drop(guard);
        // Once for an answer, and once for its end; not each time.
        assert!(begun.elapsed() < 5 * messages::PATIENCE, "{:?}", begun.elapsed());
        assert!(is_closed_within(reader, LIMIT), "the link is closed with it");
    }

    /// A socket with unread data whose last close takes so long.
    fn slow_to_close(seconds: libc::c_int) -> (TcpStream, OwnedFd) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut sender = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (receiver, _) = listener.accept().unwrap();
        sender.set_nonblocking(true).unwrap();
        while sender.write(&[0; 1 << 16]).is_ok() {}
        sender.set_nonblocking(false).unwrap();
        let linger = libc::linger { l_onoff: 1, l_linger: seconds };
        let length = size_of_val(&linger) as libc::socklen_t;
        let (socket, option) = (sender.as_raw_fd(), libc::SO_LINGER);
        // SAFETY: the kernel reads a local.
        let set =
            unsafe { libc::setsockopt(socket, libc::SOL_SOCKET, option, (&raw const linger).cast(), length) };
        assert_eq!(set, 0);
        (receiver, sender.into())
    }

    #[test]
    fn links_are_closed_side_by_side() {
        // Each takes as long as a link on a busy machine, which nobody can wait for in a test.
        const SECONDS: u64 = 2;
        const COUNT: usize = 50;
        let guard = Guard::start(None).unwrap();
        let (receivers, senders): (Vec<_>, Vec<_>) =
            (0..COUNT).map(|_| slow_to_close(SECONDS as i32)).unzip();
        guard.keep(Group::Others, senders).unwrap();
        let (reader, writer) = link();
        guard.keep(Group::Exit, vec![writer]).unwrap();
        // Not by dropping it, which kills it after a second. The end of its socket is the recorder's death.
        let pid = guard.pid;
        let Guard { socket, .. } = &*std::mem::ManuallyDrop::new(guard);
        let begun = Instant::now();
        // SAFETY: the descriptor is not used any more.
        unsafe { libc::close(socket.as_raw_fd()) };
        let mut status = 0;
        // SAFETY: waits for our own child, and writes to a local.
        assert_eq!(unsafe { libc::waitpid(pid, &raw mut status, 0) }, pid);
        let took = begun.elapsed();
        assert!(is_closed_within(reader, LIMIT));
        assert_eq!(status, 0);
        let one = Duration::from_secs(SECONDS);
        assert!(one <= took && took < one * COUNT as u32 / 4, "{took:?}");
        drop(receivers);
    }

    #[test]
    fn silence_ends_it() {
        let guard = Guard::start(None).unwrap();
        let (reader, writer) = link();
        guard.keep(Group::Others, vec![writer]).unwrap();
        let socket = guard.socket().unwrap();
        let begun = Instant::now();
        while begun.elapsed() < SILENCE + Duration::from_secs(1) {
            beat(&socket).unwrap();
            thread::sleep(Duration::from_millis(200));
        }
        assert!(is_closed_within(reader, SILENCE + LIMIT));
        // It ends a moment after its links are closed.
        let closed = Instant::now();
        while beat(&socket).is_ok() {
            assert!(closed.elapsed() < LIMIT, "it still listens");
            thread::sleep(Duration::from_millis(20));
        }
    }
}
