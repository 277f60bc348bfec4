//! The JVM's tables of symbols (names of classes, methods, fields) and of interned strings.
//!
//! Both are walked, bucket by bucket. From JDK 11 on (symbols: 12) they are a `ConcurrentHashTable`,
//! which a private variable points to; before, a `Hashtable`, whose fields are described. A table is
//! believed if its size is the power of two that its own fields say, and if what is counted in it is
//! what the JVM counts, where that is told. Archived symbols and strings (CDS) are in tables of their own.
//! Source: HotSpot, `utilities/concurrentHashTable.hpp`, `utilities/hashtable.hpp`,
//! `classfile/{symbolTable,stringTable}.cpp`, `oops/symbol.hpp`.

use super::layout::HashtableLayout;
use super::{ATTEMPTS, StatsError, WORD_BYTES, not_described, word};
use crate::hotspot::layout::Layout;
use crate::hotspot::method;
use crate::hotspot::pages::Pages;
use crate::hotspot::read::{ReadError, Reader, pointer};
use crate::hotspot::symbols::{self, Symbols};
use crate::hotspot::vmstructs::Field;
use crate::process::memory::ProcessMemory;

/// Words of a `ConcurrentHashTable` among which its `InternalTable` is.
const MAX_DISTANCE: u64 = 3;
/// An `InternalTable`: buckets, then the size: its logarithm, itself, its mask.
const INTERNAL_BYTES: u64 = 32;
const BUCKETS: Field = word(0);
const LOG2_SIZE: Field = word(1);
const SIZE: Field = word(2);
const MASK: Field = word(3);
/// The lowest bits of a bucket's pointer: locked, or moved to a larger table.
const BUCKET_STATE: u64 = 3;
const MOVED: u64 = 2;
/// A node: the next one, then the value.
const NODE_BYTES: u64 = 16;
/// The lowest bit of an entry's link says that it is archived.
const ARCHIVED: u64 = 1;
/// Buckets are at most two to the power of this.
const MAX_LOG2_SIZE: u64 = 24;
/// Buckets that are read at once: a table that lies may have millions of them.
const PIECE: u64 = 8 << 10;
const MAX_ENTRIES: u64 = 1 << 25;
/// Nodes by which the layout of all is told.
const MAX_PROBES: usize = 64;
/// Tolerated difference between the JVM's count and the entries that are found: one in so many, and a few more, which
/// came or went meanwhile.
const TOLERATED_PART: u64 = 100;
const TOLERATED_COUNT: u64 = 64;

/// Contents of a table.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Table {
    pub count: u64,
    /// Bytes of buckets and entries, and of the symbols themselves. Interned strings lie in the Java heap.
    pub bytes: u64,
}

/// The symbol table and the string table.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tables {
    pub symbols: Table,
    pub strings: Table,
}

pub(super) fn read(
    memory: &dyn ProcessMemory,
    layout: &Layout,
    symbols: &Symbols,
) -> Result<Tables, StatsError> {
    let mut last = Err(not_described("its tables of symbols and strings"));
    for _ in 0..ATTEMPTS {
        // Entries lie all over the heap, many in each page.
        let pages = Pages::new(memory);
        let walk = Walk { reader: Reader::new(&pages), layout, symbols };
        last = walk.both();
        if !matches!(last, Err(StatsError::Unreadable(_))) {
            break;
        }
    }
    last
}

/// Kind of the entries of a table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Entries {
    /// Symbols, by pointers to them.
    Symbols,
    /// Symbols, within the entries.
    SymbolsWithin,
    Strings,
}

/// The buckets of a table: how many, and which of the lowest bits of their words are no part of a pointer.
struct Buckets {
    address: u64,
    count: u64,
    state: u64,
}

/// Layout of an entry in memory.
struct Entry {
    next: Field,
    value: Field,
    bytes: u64,
    entries: Entries,
}

struct Walk<'a> {
    reader: Reader<'a>,
    layout: &'a Layout,
    symbols: &'a Symbols,
}

impl Walk<'_> {
    fn both(&self) -> Result<Tables, StatsError> {
        let stats = &self.layout.stats;
        let missing = || not_described("its tables of symbols and strings");
        let described = |variable: Option<u64>| Some((variable?, stats.hashtable.as_ref()?));
        let symbols = match described(stats.symbol_table) {
            Some((variable, table)) => self.hashtable(variable, table, Entries::Symbols)?,
            None => self.concurrent(
                self.symbols.address(symbols::SYMBOL_TABLE).ok_or_else(missing)?,
                self.symbols.address(symbols::SYMBOL_COUNT),
                Entries::Symbols,
            )?,
        };
        let strings = match (described(stats.string_table), self.symbols.address(symbols::STRING_TABLE)) {
            (Some((variable, table)), _) => self.hashtable(variable, table, Entries::Strings)?,
            (None, Some(variable)) => {
                self.concurrent(variable, self.symbols.address(symbols::STRING_COUNT), Entries::Strings)?
            }
            // In JDK 11 the only object of a class points to it.
            (None, None) => {
                let object = self.symbols.address(symbols::STRING_TABLE_OBJECT).ok_or_else(missing)?;
                self.concurrent(self.reader.pointer(object)?, None, Entries::Strings)?
            }
        };
        Ok(Tables { symbols, strings })
    }

    /// The `ConcurrentHashTable` to which the variable at `variable` points; at `counter` is how many
    /// entries the JVM counts.
    fn concurrent(&self, variable: u64, counter: Option<u64>, entries: Entries) -> Result<Table, ReadError> {
        let table = self.reader.pointer(variable)?;
        let internal = (0..MAX_DISTANCE).find_map(|index| {
            let internal = self.reader.pointer(table + index * WORD_BYTES).ok()?;
            let internal = self.reader.record(internal, INTERNAL_BYTES).ok()?;
            let (log2, size) = (internal.field(LOG2_SIZE).ok()?, internal.field(SIZE).ok()?);
            let holds = log2 <= MAX_LOG2_SIZE && size == 1 << log2 && internal.field(MASK) == Ok(size - 1);
            Some((internal.pointer(BUCKETS).ok()?, size)).filter(|_| holds)
        });
        let (address, count) = internal.ok_or(ReadError::BadPointer(table))?;
        let buckets = Buckets { address, count, state: BUCKET_STATE };
        let entries = if entries == Entries::Symbols { self.symbols_lie(&buckets)? } else { entries };
        let entry = Entry { next: word(0), value: word(1), bytes: NODE_BYTES, entries };
        let most = counter.map(|counter| self.reader.u64(counter)).transpose()?.map_or(MAX_ENTRIES, most);
        let found = self.chains(&buckets, &entry, most)?;
        // It is changed meanwhile.
        let counted = counter.map(|counter| self.reader.u64(counter)).transpose()?;
        if counted.is_some_and(|counted| !is_about(counted, found.count)) {
            return Err(ReadError::OutOfBounds(found.count));
        }
        Ok(found)
    }

    /// Layout of symbols in the nodes, of which some are asked. They are within if where a pointer would be is none: a
    /// symbol begins with its hash, its length, and its first characters.
    fn symbols_lie(&self, buckets: &Buckets) -> Result<Entries, ReadError> {
        let mut nodes: Vec<u64> = Vec::new();
        for piece in self.pieces(buckets) {
            let firsts = piece?.into_iter().map(|first| first & !BUCKET_STATE).filter(|first| *first != 0);
            nodes.extend(firsts.take(MAX_PROBES - nodes.len()));
            if nodes.len() == MAX_PROBES {
                break;
            }
        }
        let value = |node: &u64| self.reader.field(*node, word(1));
        let are_within =
            nodes.iter().filter_map(|node| value(node).ok()).any(|value| pointer(value).is_err());
        let is_text = |node: &&u64| {
            let symbol = if are_within { Ok(*node + word(1).offset) } else { value(node) };
            symbol.is_ok_and(|symbol| method::symbol(self.reader, &self.layout.method, symbol).is_ok())
        };
        // One symbol is empty, another may have gone.
        if nodes.iter().filter(is_text).count() * 2 < nodes.len() {
            return Err(ReadError::BadText(0));
        }
        Ok(if are_within { Entries::SymbolsWithin } else { Entries::Symbols })
    }

    /// The `Hashtable` to which the variable at `variable` points.
    fn hashtable(
        &self,
        variable: u64,
        layout: &HashtableLayout,
        entries: Entries,
    ) -> Result<Table, ReadError> {
        let table = self.reader.pointer(variable)?;
        let size = self.reader.field(table, layout.size)?;
        let entry_bytes = self.reader.field(table, layout.entry_bytes)?;
        let counted = self.reader.field(table, layout.count)?;
        if size > 1 << MAX_LOG2_SIZE || entry_bytes > 64 {
            return Err(ReadError::OutOfBounds(size));
        }
        let address = self.reader.field(table, layout.buckets)?;
        let buckets = Buckets { address, count: size, state: 0 };
        let entry = Entry { next: layout.next, value: layout.literal, bytes: entry_bytes, entries };
        let found = self.chains(&buckets, &entry, most(counted))?;
        if !is_about(counted, found.count) {
            return Err(ReadError::OutOfBounds(found.count));
        }
        Ok(found)
    }

    /// The words of buckets, piece by piece.
    fn pieces(&self, buckets: &Buckets) -> impl Iterator<Item = Result<Vec<u64>, ReadError>> {
        let &Buckets { address, count, .. } = buckets;
        (0..count).step_by(PIECE as usize).map(move |from| {
            let at = address.checked_add(from * WORD_BYTES).ok_or(ReadError::BadPointer(address))?;
            let bytes = PIECE.min(count - from) * WORD_BYTES;
            let bytes = self.reader.bytes(at, bytes, (PIECE * WORD_BYTES) as usize)?;
            Ok(bytes.as_chunks::<8>().0.iter().map(|word| u64::from_le_bytes(*word)).collect())
        })
    }

    /// Chains of the buckets, in which there are `most` entries.
    fn chains(&self, buckets: &Buckets, of: &Entry, most: u64) -> Result<Table, ReadError> {
        let mut table = Table { count: 0, bytes: buckets.count * WORD_BYTES };
        for first in self.pieces(buckets) {
            for first in first? {
                if first & buckets.state & MOVED != 0 {
                    return Err(ReadError::OutOfBounds(buckets.address));
                }
                let mut entry = first & !buckets.state;
                while entry != 0 {
                    table.count += 1;
                    if table.count > most {
                        return Err(ReadError::OutOfBounds(entry));
                    }
                    table.bytes += of.bytes + self.symbol_bytes(entry, of)?;
                    entry = self.reader.field(entry, of.next)? & !ARCHIVED;
                }
            }
        }
        Ok(table)
    }

    /// Bytes of the symbol that an entry has.
    fn symbol_bytes(&self, entry: u64, of: &Entry) -> Result<u64, ReadError> {
        let symbol = match of.entries {
            Entries::Symbols => self.reader.pointer_field(entry, of.value)?,
            Entries::SymbolsWithin => entry.wrapping_add(of.value.offset),
            Entries::Strings => return Ok(0),
        };
        method::symbol_bytes(self.reader, &self.layout.method, symbol)
    }
}

/// The most entries that a table may have of which the JVM counts so many.
fn most(counted: u64) -> u64 {
    counted.min(MAX_ENTRIES) + counted.min(MAX_ENTRIES) / (TOLERATED_PART / 2) + 2 * TOLERATED_COUNT
}

/// Is the JVM's own count about what was found?
fn is_about(counted: u64, found: u64) -> bool {
    counted.abs_diff(found) <= found / TOLERATED_PART + TOLERATED_COUNT
}
