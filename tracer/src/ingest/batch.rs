//! A whole BPF hash map in few system calls: element by element, a million would take seconds.

use std::{
    io,
    os::fd::{AsRawFd, BorrowedFd},
};

use zerocopy::FromBytes;

/// `BPF_MAP_LOOKUP_BATCH` (Linux 5.6, `include/uapi/linux/bpf.h`).
const LOOKUP_BATCH: libc::c_int = 24;
/// Elements asked for at first. A bucket that holds more than fit makes the kernel refuse.
const FIRST_COUNT: u32 = 4096;
const MAX_COUNT: u32 = 1 << 20;

/// The part of `union bpf_attr` that batch commands use.
#[repr(C)]
#[derive(Default)]
struct BatchAttr {
    in_batch: u64,
    out_batch: u64,
    keys: u64,
    values: u64,
    count: u32,
    map_fd: u32,
    elem_flags: u64,
    flags: u64,
}

/// Calls `each` with the key and value of every element of the hash map `map`. Elements inserted or
/// removed meanwhile may or may not be among them.
///
/// # Errors
/// The kernel refuses.
pub fn for_each<V: FromBytes>(map: BorrowedFd<'_>, mut each: impl FnMut(u64, V)) -> io::Result<()> {
    let mut count = FIRST_COUNT;
    let mut position: Option<[u8; 8]> = None;
    loop {
        let mut keys = vec![0u64; count as usize];
        let mut values = vec![0u8; count as usize * size_of::<V>()];
        let mut next = [0u8; 8];
        let mut attr = BatchAttr {
            in_batch: position.as_ref().map_or(0, |position| position.as_ptr() as u64),
            out_batch: next.as_mut_ptr() as u64,
            keys: keys.as_mut_ptr() as u64,
            values: values.as_mut_ptr() as u64,
            count,
            map_fd: map.as_raw_fd() as u32,
            ..BatchAttr::default()
        };
        // SAFETY: the attribute's pointers are to buffers of `count` elements that live until after the
        // call; the kernel writes at most so many.
        let status = unsafe {
            libc::syscall(libc::SYS_bpf, LOOKUP_BATCH, &raw mut attr, size_of::<BatchAttr>() as libc::c_uint)
        };
        let error = if status < 0 { Some(io::Error::last_os_error()) } else { None };
        let end = match error.as_ref().and_then(io::Error::raw_os_error) {
            None => false,
            Some(libc::ENOENT) => true,
            Some(libc::ENOSPC) if count < MAX_COUNT => {
                count *= 2;
                continue;
            }
            Some(libc::EINTR) => continue,
            Some(_) => return Err(error.unwrap_or_else(io::Error::last_os_error)),
        };
        let found = (attr.count as usize).min(keys.len());
        for (key, value) in keys.iter().zip(values.chunks_exact(size_of::<V>())).take(found) {
            if let Ok(value) = V::read_from_bytes(value) {
                each(*key, value);
            }
        }
        if end {
            return Ok(());
        }
        position = Some(next);
    }
}
