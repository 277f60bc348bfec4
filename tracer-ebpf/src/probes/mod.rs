//! Functions of the probe points, one for each. A probe is thin: it reads its arguments and hands on.

mod allocator;
mod faults;
mod lifecycle;
mod process;
mod syscalls;
mod usdt;
