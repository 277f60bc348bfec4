//! Functions that begin a thread or the process, in C libraries that give no call-frame information for them.
//!
//! glibc says in its call-frame information that nothing called them. musl comes without any: there the program's first
//! function returns to one that has no exported name either. It is found by the code of those that have: each takes its
//! address. Source: musl 1.1 to 1.2, `src/env/__libc_start_main.c`, `src/thread/pthread_create.c`.

use object::read::elf::ElfFile64;
use object::{Endianness, Object, ObjectSegment, ObjectSymbol, ReadRef};
use tracer_common::unwind::rule;

use super::{Compiler, Span, plain};
use crate::arch::jump;

/// Largest size of a function without call-frame information that begins a thread or process.
const MAX_ENTRY_BYTES: u64 = 256;
/// Symbols of functions that begin a thread, and of musl's that begins the process.
const THREAD_ENTRIES: [&str; 5] = ["__clone", "clone", "__clone3", "clone3", MUSL_START];
const MUSL_START: &str = "__libc_start_main";
/// musl's functions that take the address of one to which `main`, or a thread's function, returns.
const MUSL_STARTERS: [&str; 2] = [MUSL_START, "pthread_create"];
/// Bytes of such a function that are looked through.
const MAX_STARTER_BYTES: u64 = 4096;
/// Symbols looked at in search of them.
const MAX_SYMBOLS: usize = 1 << 20;

impl Compiler {
    /// Adds the functions that begin a thread or the process where no entry covers them, as in C libraries that come
    /// without call-frame information for their assembly, or without any.
    pub(super) fn roots<'data, R: ReadRef<'data>>(&mut self, file: &ElfFile64<'data, Endianness, R>) {
        self.spans.sort_by_key(|span| span.start);
        self.root(file.entry(), MAX_ENTRY_BYTES);
        // A program that is linked statically exports nothing.
        let mut starters = match file.dynamic_symbols().next() {
            Some(_) => self.thread_entries(file, file.dynamic_symbols()),
            None => self.thread_entries(file, file.symbols()),
        };
        starters.sort_unstable();
        starters.dedup();
        for (index, &address) in starters.iter().enumerate() {
            let next = starters.get(index + 1).map_or(u64::MAX, |next| next - address);
            self.root(address, next.min(MAX_ENTRY_BYTES));
        }
    }

    /// Adds the functions that are known by their symbols, and gives the addresses of those that are not: with that of
    /// each function behind one, where it ends at the latest.
    fn thread_entries<'data, 'file, R: ReadRef<'data>>(
        &mut self,
        file: &ElfFile64<'data, Endianness, R>,
        symbols: impl Iterator<Item: ObjectSymbol<'data>> + 'file,
    ) -> Vec<u64> {
        let mut taken = Vec::new();
        for symbol in symbols.take(MAX_SYMBOLS) {
            // Names are dear to read, and nearly every function is covered.
            if !symbol.is_definition() || self.uncovered(symbol.address()).is_none() {
                continue;
            }
            let Ok(name) = symbol.name() else { continue };
            let (address, size) = (symbol.address(), symbol.size());
            if MUSL_STARTERS.contains(&name) && size <= MAX_STARTER_BYTES {
                let code =
                    file.segments().find_map(|segment| segment.data_range(address, size).ok().flatten());
                let of_code = jump::addresses(code.unwrap_or_default(), address);
                taken.extend(of_code.filter(|taken| self.uncovered(*taken).is_some()));
            }
            if THREAD_ENTRIES.contains(&name) {
                self.root(address, size.clamp(1, MAX_ENTRY_BYTES));
            }
        }
        taken
    }

    /// Position among the spans, which are sorted, at which one for the code at `address` would go. `None`: there is
    /// one, or the address is not in executable code.
    fn uncovered(&self, address: u64) -> Option<(usize, u32)> {
        let start = address.wrapping_sub(self.first_vaddr);
        if start >= self.end {
            return None;
        }
        let start = start as u32;
        let next = self.spans.partition_point(|span| span.start <= start);
        let before = next.checked_sub(1).and_then(|before| self.spans.get(before));
        before.is_none_or(|span| span.end <= start).then_some((next, start))
    }

    /// Adds a function that begins a thread, unless an entry covers it.
    fn root(&mut self, address: u64, size_bytes: u64) {
        let Some((next, start)) = self.uncovered(address) else { return };
        let limit = self.spans.get(next).map_or(self.end, |span| u64::from(span.start));
        let end = (u64::from(start) + size_bytes).min(limit) as u32;
        let first_row = self.rows.len();
        self.rows.push(plain(start, rule::ROOT));
        self.spans.insert(next, Span { start, end, first_row, row_count: 1 });
    }
}
