//! One function for each probe point. A probe is thin: it reads its arguments and hands on.

mod allocator;
mod faults;
mod lifecycle;
mod process;
mod syscalls;
mod usdt;
