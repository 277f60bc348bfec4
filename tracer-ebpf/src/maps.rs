//! Maps that several parts use. Sizes are set again at load from what the target needs.

use aya_ebpf::{
    bindings::BPF_F_MMAPABLE,
    macros::map,
    maps::{Array, RingBuf},
};
use tracer_common::{
    config::Jvm,
    table::{Control, Deadline, UsdtSpec},
    unwind::{MAX_MODULES, Module, ModuleTable, Row},
};

#[map]
pub static EVENTS: RingBuf = RingBuf::with_byte_size(8 << 20, 0);

#[map]
pub static CONTROL: Array<Control> = Array::with_max_entries(1, 0);

#[map]
pub static DEADLINE: Array<Deadline> = Array::with_max_entries(1, 0);

#[map]
pub static USDT_SPECS: Array<UsdtSpec> = Array::with_max_entries(64, 0);

#[map]
pub static JVM: Array<Jvm> = Array::with_max_entries(1, 0);

/// Two halves of [`MAX_MODULES`], of which [`MODULE_TABLE`] says which is in use.
#[map]
pub static MODULES: Array<Module> = Array::with_max_entries(2 * MAX_MODULES as u32, 0);

#[map]
pub static MODULE_TABLE: Array<ModuleTable> = Array::with_max_entries(1, 0);

/// The epoch of the tables that walks read, raised by user space when it changed one: [`MODULES`], [`MODULE_TABLE`], [`JVM`].
/// The lowest bit ([`KEEPS_JAVA`]): the JVM tells when code and classes go.
#[map]
pub static TABLE_EPOCH: Array<u64> = Array::with_max_entries(1, 0);

/// The epoch of the JVM's code, raised when it frees code or classes.
#[map]
pub static CODE_EPOCH: Array<u64> = Array::with_max_entries(1, 0);

pub use tracer_common::table::KEEPS_JAVA;

/// The epoch that a remembered walk must have been made in to be right still; not 0.
#[inline(always)]
pub fn memo_epoch() -> u64 {
    let tables = TABLE_EPOCH.get(0).map_or(0, |epoch| *epoch);
    let code = CODE_EPOCH.get(0).map_or(0, |epoch| *epoch);
    // 2^31 of each; the bit in the middle keeps it from being 0.
    code << 33 | 1 << 32 | tables & 0xffff_ffff
}

/// Code or classes of the JVM go.
#[inline(always)]
pub fn raise_code_epoch() {
    if let Some(epoch) = CODE_EPOCH.get_ptr_mut(0) {
        // SAFETY: a valid map value.
        unsafe { crate::atomic::add(epoch, 1) };
    }
}

/// User space writes hundreds of thousands of rows through a mapping.
#[map]
pub static ROWS: Array<Row> = Array::with_max_entries(1, BPF_F_MMAPABLE);

/// The GC epoch.
#[inline(always)]
pub fn epoch() -> u32 {
    CONTROL.get(0).map_or(0, |control| control.epoch)
}
