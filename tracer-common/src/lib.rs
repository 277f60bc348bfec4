//! The types that the BPF programs and user space share: ring-buffer records, map keys and values,
//! configuration, counters, unwind rows, and the rules by which one frame leads to its caller.
//!
//! Every type here is `#[repr(C)]`, without implicit padding, and its size is asserted at compile
//! time: the two sides are compiled by different compilers for different targets.
#![cfg_attr(not(test), no_std)]
// The kernel's verifier has no panics, and what is read of a process may be anything.
#![cfg_attr(
    not(test),
    deny(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::panic,
        clippy::indexing_slicing,
        clippy::string_slice
    )
)]

pub mod arch;
pub mod config;
pub mod counter;
pub mod record;
pub mod sampling;
pub mod site;
pub mod stack;
pub mod table;
pub mod unwind;
pub mod walk;
pub mod zlib;

/// Derives what both sides need of a shared plain-data type, and asserts its size in bytes.
macro_rules! shared {
    ($(#[$meta:meta])* pub struct $name:ident: $size:literal { $($(#[$fmeta:meta])* pub $field:ident : $ty:ty),* $(,)? }) => {
        $(#[$meta])*
        #[repr(C)]
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[cfg_attr(feature = "user", derive(zerocopy::FromBytes, zerocopy::IntoBytes, zerocopy::Immutable, zerocopy::KnownLayout))]
        pub struct $name { $($(#[$fmeta])* pub $field: $ty),* }

        const _: () = assert!(core::mem::size_of::<$name>() == $size);

        // SAFETY: `repr(C)`, only integers and arrays of them, and no padding (zerocopy's
        // `IntoBytes` refuses a type that has any).
        #[cfg(feature = "user")]
        unsafe impl aya::Pod for $name {}

        impl $name {
            /// A value of which all bytes are zero.
            pub const ZERO: Self = {
                // SAFETY: every field is an integer or an array of integers, for which zero is valid.
                unsafe { core::mem::zeroed() }
            };
        }
    };
}
pub(crate) use shared;
