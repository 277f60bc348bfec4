//! The functions of the malloc family, and the symbols by which they are known.

use crate::process::lifecycle::LifecycleFunction;

/// The meaning of an allocator function's arguments. Where two names share one address, the
/// earlier here is taken (glibc: `aligned_alloc` and `memalign`, whose arguments are alike).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Function {
    /// `malloc(size)`, and what takes and returns the same: `operator new(size, ...)`.
    Malloc,
    /// `calloc(count, size)`.
    Calloc,
    /// `realloc(pointer, size)`.
    Realloc,
    /// `reallocarray(pointer, count, size)`.
    Reallocarray,
    /// `free(pointer)`, and what takes the pointer first: `operator delete(pointer, ...)`.
    Free,
    /// `posix_memalign(result, alignment, size)`.
    PosixMemalign,
    /// `aligned_alloc(alignment, size)`.
    AlignedAlloc,
    /// `memalign(alignment, size)`.
    Memalign,
    /// `valloc(size)`.
    Valloc,
    /// `pvalloc(size)`.
    Pvalloc,
    /// C23's `free_sized(pointer, size)`.
    FreeSized,
    /// C23's `free_aligned_sized(pointer, alignment, size)`.
    FreeAlignedSized,
    /// A function that is not of the family: memory is held by it in another way.
    Lifecycle(LifecycleFunction),
}

impl Function {
    /// The C name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Malloc => "malloc",
            Self::Calloc => "calloc",
            Self::Realloc => "realloc",
            Self::Reallocarray => "reallocarray",
            Self::Free => "free",
            Self::PosixMemalign => "posix_memalign",
            Self::AlignedAlloc => "aligned_alloc",
            Self::Memalign => "memalign",
            Self::Valloc => "valloc",
            Self::Pvalloc => "pvalloc",
            Self::FreeSized => "free_sized",
            Self::FreeAlignedSized => "free_aligned_sized",
            Self::Lifecycle(held) => held.name(),
        }
    }

    /// Does the function give memory (so that its return matters)?
    pub fn allocates(self) -> bool {
        match self {
            Self::Lifecycle(held) => held.begins(),
            _ => !matches!(self, Self::Free | Self::FreeSized | Self::FreeAlignedSized),
        }
    }

    /// The function that a symbol of this name is.
    pub fn of_symbol(name: &[u8]) -> Option<Self> {
        const NAMED: [(&[u8], Function); 13] = [
            (b"malloc", Function::Malloc),
            (b"calloc", Function::Calloc),
            (b"realloc", Function::Realloc),
            (b"reallocarray", Function::Reallocarray),
            (b"free", Function::Free),
            // free's second name until glibc 2.26.
            (b"cfree", Function::Free),
            (b"posix_memalign", Function::PosixMemalign),
            (b"aligned_alloc", Function::AlignedAlloc),
            (b"memalign", Function::Memalign),
            (b"valloc", Function::Valloc),
            (b"pvalloc", Function::Pvalloc),
            (b"free_sized", Function::FreeSized),
            (b"free_aligned_sized", Function::FreeAlignedSized),
        ];
        NAMED.iter().find(|(known, _)| *known == name).map(|(_, function)| *function)
    }

    /// Entry points of an allocator library beside the C names. Such a library serves `new` without
    /// calling its own malloc (libstdc++'s operators call malloc and define none of it).
    pub fn of_allocator_symbol(name: &[u8]) -> Option<Self> {
        // operator new(size), new[](size), with alignment or nothrow behind the size; delete alike.
        if name.starts_with(b"_Znwm") || name.starts_with(b"_Znam") {
            return Some(Self::Malloc);
        }
        if name.starts_with(b"_ZdlPv") || name.starts_with(b"_ZdaPv") {
            return Some(Self::Free);
        }
        // jemalloc's own interface: mallocx(size, flags), rallocx(pointer, size, flags),
        // dallocx(pointer, flags), sdallocx(pointer, size, flags).
        match name {
            b"mallocx" => Some(Self::Malloc),
            b"rallocx" => Some(Self::Realloc),
            b"dallocx" | b"sdallocx" => Some(Self::Free),
            _ => None,
        }
    }

    /// mimalloc's own interface beside the C names, without its prefix `mi_`. Functions that take a heap first are not
    /// among it: those here call them. Source: mimalloc 1.7 to 3.1, `include/mimalloc.h`.
    pub fn of_mimalloc_name(name: &[u8]) -> Option<Self> {
        match name {
            // (size), (size, alignment), (size, alignment, offset)
            b"malloc_small"
            | b"zalloc_small"
            | b"zalloc"
            | b"malloc_aligned"
            | b"malloc_aligned_at"
            | b"zalloc_aligned"
            | b"zalloc_aligned_at"
            | b"new"
            | b"new_aligned"
            | b"new_nothrow"
            | b"new_aligned_nothrow" => Some(Self::Malloc),
            // (count, size), with an alignment and an offset behind
            b"mallocn" | b"calloc_aligned" | b"calloc_aligned_at" | b"new_n" => Some(Self::Calloc),
            // (pointer, size), with an alignment and an offset behind
            b"realloc_aligned"
            | b"realloc_aligned_at"
            | b"reallocf"
            | b"rezalloc"
            | b"rezalloc_aligned"
            | b"rezalloc_aligned_at"
            | b"new_realloc" => Some(Self::Realloc),
            // (pointer, count, size), with an alignment and an offset behind
            b"reallocn" | b"recalloc" | b"recalloc_aligned" | b"recalloc_aligned_at" | b"new_reallocn" => {
                Some(Self::Reallocarray)
            }
            // (pointer), and what else is told of it
            b"cfree" | b"free_size" | b"free_aligned" | b"free_size_aligned" => Some(Self::Free),
            _ => None,
        }
    }
}
