//! Messages between the recorder and its guard, with descriptors (`SCM_RIGHTS`). System calls alone, and no memory:
//! the guard is a forked process.

use std::{
    io, mem,
    os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd},
    time::Duration,
};

/// Descriptors that one message can carry; the kernel's limit is 253.
pub(super) const LINKS_AT_ONCE: usize = 64;

/// Time in which a guard that runs answers, on a busy machine, too.
pub(super) const PATIENCE: Duration = Duration::from_secs(3);

/// Bytes of control data for so many descriptors, and a header, in words so that it is aligned.
const CONTROL_WORDS: usize = 4 + LINKS_AT_ONCE / 2;

/// The message, of two bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Message {
    /// The recorder runs.
    Beat,
    /// Links of a group; in the other direction, links given back: the last message has none.
    Keep(u8),
    /// Links of a group are wanted back.
    GiveBack(u8),
    /// The kernel is to count runs of programs: the answer is a message with the descriptor, or without if it refuses.
    Count,
    /// The guard is to end.
    End,
}

impl Message {
    fn bytes(self) -> [u8; 2] {
        match self {
            Self::Beat => [0, 0],
            Self::Keep(group) => [1, group],
            Self::GiveBack(group) => [2, group],
            Self::End => [3, 0],
            Self::Count => [4, 0],
        }
    }

    fn of_bytes(bytes: [u8; 2]) -> Self {
        match bytes {
            [0, _] => Self::Beat,
            [1, group] => Self::Keep(group),
            [2, group] => Self::GiveBack(group),
            [4, _] => Self::Count,
            _ => Self::End,
        }
    }
}

/// Two connected sockets that keep messages apart, and close when a program is executed. Who waits at the first for
/// longer than [`PATIENCE`] is told so: a guard that is stopped must not stop the recorder.
pub(super) fn pair() -> io::Result<(OwnedFd, OwnedFd)> {
    let mut ends = [-1; 2];
    let kind = libc::SOCK_SEQPACKET | libc::SOCK_CLOEXEC;
    // SAFETY: writes two descriptors to a local.
    if unsafe { libc::socketpair(libc::AF_UNIX, kind, 0, ends.as_mut_ptr()) } < 0 {
        return Err(io::Error::last_os_error());
    }
    let [ours, its] = ends.map(own);
    let limit = libc::timeval { tv_sec: PATIENCE.as_secs() as libc::time_t, tv_usec: 0 };
    let length = size_of_val(&limit) as libc::socklen_t;
    for option in [libc::SO_RCVTIMEO, libc::SO_SNDTIMEO] {
        let socket = ours.as_raw_fd();
        // SAFETY: the kernel reads a local.
        if unsafe { libc::setsockopt(socket, libc::SOL_SOCKET, option, (&raw const limit).cast(), length) }
            < 0
        {
            return Err(io::Error::last_os_error());
        }
    }
    Ok((ours, its))
}

/// A descriptor that was just received or made.
pub(super) fn own(descriptor: RawFd) -> OwnedFd {
    // SAFETY: the callers pass descriptors that are new, and nobody else's.
    unsafe { OwnedFd::from_raw_fd(descriptor) }
}

/// Sends a message, with at most [`LINKS_AT_ONCE`] descriptors. Where there is no room for it, it waits, but for a beat.
///
/// # Errors
/// The other side is gone, or does not run.
pub(super) fn send(socket: RawFd, message: Message, descriptors: &[RawFd]) -> io::Result<()> {
    let mut bytes = message.bytes();
    let mut part = libc::iovec { iov_base: bytes.as_mut_ptr().cast(), iov_len: bytes.len() };
    let mut control = [0_u64; CONTROL_WORDS];
    let count = descriptors.len().min(LINKS_AT_ONCE);
    let length = count * size_of::<RawFd>();
    // SAFETY: integers and pointers, for which zeros are values; what the header points to lives until after the call,
    // and the control data has room for `count` descriptors.
    let sent = unsafe {
        let mut header: libc::msghdr = mem::zeroed();
        header.msg_iov = &raw mut part;
        header.msg_iovlen = 1;
        if count > 0 {
            header.msg_control = control.as_mut_ptr().cast();
            header.msg_controllen = libc::CMSG_SPACE(length as u32) as usize;
            let rights = libc::CMSG_FIRSTHDR(&raw const header);
            (*rights).cmsg_level = libc::SOL_SOCKET;
            (*rights).cmsg_type = libc::SCM_RIGHTS;
            (*rights).cmsg_len = libc::CMSG_LEN(length as u32) as usize;
            descriptors.as_ptr().copy_to_nonoverlapping(libc::CMSG_DATA(rights).cast(), count);
        }
        let patience = if message == Message::Beat { libc::MSG_DONTWAIT } else { 0 };
        libc::sendmsg(socket, &raw const header, libc::MSG_NOSIGNAL | patience)
    };
    if sent < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// Waits for a message, and gives it with how many `descriptors` came.
///
/// # Errors
/// The other side is gone.
pub(super) fn receive(
    socket: RawFd,
    descriptors: &mut [RawFd; LINKS_AT_ONCE],
) -> io::Result<(Message, usize)> {
    let mut bytes = [0; 2];
    let mut part = libc::iovec { iov_base: bytes.as_mut_ptr().cast(), iov_len: bytes.len() };
    let mut control = [0_u64; CONTROL_WORDS];
    // SAFETY: as in `send`; the kernel writes at most what it is told of.
    unsafe {
        let mut header: libc::msghdr = mem::zeroed();
        header.msg_iov = &raw mut part;
        header.msg_iovlen = 1;
        header.msg_control = control.as_mut_ptr().cast();
        header.msg_controllen = size_of_val(&control);
        loop {
            match libc::recvmsg(socket, &raw mut header, libc::MSG_CMSG_CLOEXEC) {
                0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                -1 if io::Error::last_os_error().kind() == io::ErrorKind::Interrupted => {}
                -1 => return Err(io::Error::last_os_error()),
                _ => break,
            }
        }
        let rights = libc::CMSG_FIRSTHDR(&raw const header);
        let mut count = 0;
        if !rights.is_null() && (*rights).cmsg_type == libc::SCM_RIGHTS {
            let length = (*rights).cmsg_len - libc::CMSG_LEN(0) as usize;
            count = (length / size_of::<RawFd>()).min(LINKS_AT_ONCE);
            let received: *const RawFd = libc::CMSG_DATA(rights).cast();
            received.copy_to_nonoverlapping(descriptors.as_mut_ptr(), count);
        }
        Ok((Message::of_bytes(bytes), count))
    }
}
