//! Functions of the probe points, one for each. A probe is thin: it reads its arguments and hands on.

mod allocator;
mod faults;
mod lifecycle;
mod mapping_call;
mod process;
mod syscall_returns;
mod syscalls;
mod usdt;
