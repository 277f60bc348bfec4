//! Native Memory Tracking (`-XX:NativeMemoryTracking`): the JVM's own account of what it allocates and maps.
//!
//! The JVM keeps two tables by category, one of malloc and one of mappings, and the categories' names. Their lengths, by
//! the symbols' sizes, tell how an entry lies; nothing depends on the version. The numbers change while they are read.
//! Source: HotSpot, `nmt/` (to 21 `services/`): `memTracker.hpp`, `mallocTracker.hpp`, `virtualMemoryTracker.hpp`,
//! `nmtCommon.hpp`.

use super::{StatsError, WORD_BYTES, not_described};
use crate::hotspot::read::{ReadError, Reader};
use crate::hotspot::symbols::{
    Symbols, TRACKED_MALLOC, TRACKED_MAPPINGS, TRACKED_NAMES, TRACKED_TYPE_NAMES, TRACKING_LEVEL,
};

/// The flag that turns it on.
pub(super) const FLAG: &str = "NativeMemoryTracking";
/// Values of the level (`NMT_TrackingLevel`); off and unknown have others.
const SUMMARY: u32 = 2;
const DETAIL: u32 = 3;
const OFF: &str = "off";
/// Categories, and characters of a name.
const MAX_CATEGORIES: u64 = 256;
const MAX_NAME: usize = 64;
/// Words of a name in `_strings`: the constant's, and the one for people.
const NAME_WORDS: u64 = 2;
/// Words of a counter: count and bytes, and from 17 on the highest of both, too.
const COUNTER_WORDS: [u64; 2] = [2, 4];
/// Words of a category's mappings: reserved and committed bytes, and from 18 on the most that was committed.
const MAPPINGS_WORDS: [u64; 2] = [2, 3];
/// More bytes than any address space has.
const MAX_BYTES: u64 = 1 << 56;
/// Category whose memory the JVM's arenas hand on, so that it counts in theirs.
const ARENA_CHUNKS: &str = "Arena Chunk";
/// Category of stacks: the JVM counts what is committed of them only while it makes a report.
const THREAD_STACKS: &str = "Thread Stack";

/// Level of tracking.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TrackingLevel {
    Summary,
    Detail,
}

impl TrackingLevel {
    /// As the flag has it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Summary => "summary",
            Self::Detail => "detail",
        }
    }
}

/// Memory as the JVM's tracking counts it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tracking {
    pub level: TrackingLevel,
    /// In the JVM's order; those that have nothing are left out.
    pub categories: Vec<TrackedCategory>,
}

/// Memory of one category.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TrackedCategory {
    /// As the JVM has it: `Java Heap`, `Arena Chunk`.
    pub name: String,
    /// Bytes of mappings.
    pub reserved_bytes: u64,
    /// `None` for stacks of threads.
    pub committed_bytes: Option<u64>,
    /// Blocks of malloc and their bytes, without the headers that tracking adds.
    pub malloc_count: u64,
    pub malloc_bytes: u64,
    /// Bytes of the JVM's arenas. They are chunks of malloc, which no other category counts.
    pub arena_bytes: u64,
}

/// Reads the totals; `flag` is where the value of [`FLAG`] is.
pub(super) fn read(
    reader: Reader<'_>,
    symbols: &Symbols,
    flag: Option<u64>,
) -> Result<Option<Tracking>, StatsError> {
    let missing = || not_described("its totals of native memory (its libjvm has no full symbol table)");
    let Some(level) = symbols.address(TRACKING_LEVEL) else {
        // A stripped libjvm still has its flags.
        let is_off = flag.is_none_or(|flag| is_off(reader, flag));
        return if is_off { Ok(None) } else { Err(missing()) };
    };
    let level = match reader.u32(level)? {
        SUMMARY => TrackingLevel::Summary,
        DETAIL => TrackingLevel::Detail,
        _ => return Ok(None),
    };
    let variable = |name: &str| Some((symbols.address(name)?, symbols.size(name)?));
    let names = match variable(TRACKED_NAMES) {
        Some((address, bytes)) => Names { address, bytes, words: NAME_WORDS },
        None => {
            let (address, bytes) = variable(TRACKED_TYPE_NAMES).ok_or_else(missing)?;
            Names { address, bytes, words: 1 }
        }
    };
    let tables = Tables {
        names,
        malloc: variable(TRACKED_MALLOC).ok_or_else(missing)?,
        mappings: variable(TRACKED_MAPPINGS).ok_or_else(missing)?,
    };
    Ok(Some(Tracking { level, categories: tables.read(reader)? }))
}

/// Tells whether the text of the flag at `flag` says that nothing is tracked.
fn is_off(reader: Reader<'_>, flag: u64) -> bool {
    let value = reader.u64(flag).and_then(|text| reader.c_string(text, MAX_NAME));
    value.is_ok_and(|value| value == OFF)
}

/// The table of names.
struct Names {
    address: u64,
    bytes: u64,
    /// Words of an entry, the last of which points to the name.
    words: u64,
}

struct Tables {
    names: Names,
    /// Address and bytes: for each category a counter of malloc and one of arenas, and a counter of all after the last.
    malloc: (u64, u64),
    /// Address and bytes.
    mappings: (u64, u64),
}

impl Tables {
    fn read(&self, reader: Reader<'_>) -> Result<Vec<TrackedCategory>, StatsError> {
        let as_known = || not_described("its totals of native memory as known");
        let count = self.names.bytes / (self.names.words * WORD_BYTES);
        if !(1..=MAX_CATEGORIES).contains(&count) {
            return Err(as_known());
        }
        let words = |table: &[u64], bytes: u64, entries: u64| {
            let fits = |words: &&u64| **words * entries * WORD_BYTES == bytes;
            table.iter().find(fits).copied().ok_or_else(as_known)
        };
        let counter = words(&COUNTER_WORDS, self.malloc.1, 2 * count + 1)?;
        let mapping = words(&MAPPINGS_WORDS, self.mappings.1, count)?;
        let malloc = read_words(reader, self.malloc)?;
        let mappings = read_words(reader, self.mappings)?;
        let number = |table: &[u64], at: u64| -> Result<u64, ReadError> {
            let value = usize::try_from(at).ok().and_then(|at| table.get(at)).copied().unwrap_or(0);
            if value > MAX_BYTES { Err(ReadError::OutOfBounds(value)) } else { Ok(value) }
        };
        let mut categories = Vec::new();
        for index in 0..count {
            let entry = self.names.address + (index + 1) * self.names.words * WORD_BYTES - WORD_BYTES;
            let name = reader.c_string(reader.u64(entry)?, MAX_NAME)?;
            let committed = number(&mappings, index * mapping + 1)?;
            categories.push(TrackedCategory {
                reserved_bytes: number(&mappings, index * mapping)?,
                committed_bytes: (name != THREAD_STACKS).then_some(committed),
                malloc_count: number(&malloc, 2 * index * counter)?,
                malloc_bytes: number(&malloc, 2 * index * counter + 1)?,
                arena_bytes: number(&malloc, (2 * index + 1) * counter + 1)?,
                name,
            });
        }
        let arenas: u64 = categories.iter().map(|category| category.arena_bytes).sum();
        for chunks in categories.iter_mut().filter(|category| category.name == ARENA_CHUNKS) {
            chunks.malloc_bytes = chunks.malloc_bytes.saturating_sub(arenas);
        }
        categories
            .retain(|category| category.reserved_bytes + category.malloc_bytes + category.arena_bytes > 0);
        Ok(categories)
    }
}

fn read_words(reader: Reader<'_>, (address, bytes): (u64, u64)) -> Result<Vec<u64>, ReadError> {
    const LIMIT: usize = (2 * MAX_CATEGORIES as usize + 1) * 4 * WORD_BYTES as usize;
    let bytes = reader.bytes(address, bytes, LIMIT)?;
    Ok(bytes.as_chunks().0.iter().map(|word| u64::from_le_bytes(*word)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::process::memory::ImageMemory;

    const AT: u64 = 0x10_0000;

    /// A JVM with three categories, whose tables have entries of so many words.
    fn jvm(counter: usize, mapping: usize, level: u32) -> (Symbols, ImageMemory) {
        let mut names = Vec::new();
        let mut texts = Vec::new();
        for name in ["Java Heap", THREAD_STACKS, ARENA_CHUNKS] {
            names.extend([0, AT + 0x8000 + texts.len() as u64]);
            texts.extend_from_slice(name.as_bytes());
            texts.push(0);
        }
        texts.resize(0x100, 0);
        let entry = |numbers: [u64; 2], words: usize| {
            let mut entry = numbers.to_vec();
            entry.resize(words, 7 << 20);
            entry
        };
        let mappings: Vec<u64> = [[512 << 20, 256 << 20], [9 << 20, 1 << 20], [0, 0]]
            .into_iter()
            .flat_map(|it| entry(it, mapping))
            .collect();
        let counters = [[0, 0], [0, 0], [3, 900], [4, 5_000], [10, 20_000], [0, 0], [17, 25_900]];
        let malloc: Vec<u64> = counters.into_iter().flat_map(|it| entry(it, counter)).collect();
        let bytes = |words: &[u64]| words.iter().flat_map(|word| word.to_le_bytes()).collect::<Vec<u8>>();
        let parts = [
            (TRACKING_LEVEL, 0x0, level.to_le_bytes().to_vec()),
            (TRACKED_MALLOC, 0x1000, bytes(&malloc)),
            (TRACKED_MAPPINGS, 0x2000, bytes(&mappings)),
            (TRACKED_NAMES, 0x3000, bytes(&names)),
        ];
        let sized = parts.iter().map(|(name, at, bytes)| (*name, AT + at, bytes.len() as u64));
        let symbols = Symbols::sized(sized);
        let mut ranges: Vec<(u64, Vec<u8>)> =
            parts.into_iter().map(|(_, at, bytes)| (AT + at, bytes)).collect();
        ranges.push((AT + 0x8000, texts));
        (symbols, ImageMemory::new(ranges))
    }

    #[test]
    fn categories_of_every_length_of_entries() {
        for (counter, mapping) in [(2, 2), (4, 2), (4, 3)] {
            let (symbols, memory) = jvm(counter, mapping, SUMMARY);
            let tracking = read(Reader::new(&memory), &symbols, None).expect("read").expect("on");
            assert_eq!(tracking.level, TrackingLevel::Summary);
            let heap = TrackedCategory {
                name: "Java Heap".to_owned(),
                reserved_bytes: 512 << 20,
                committed_bytes: Some(256 << 20),
                ..TrackedCategory::default()
            };
            let stacks = TrackedCategory {
                name: THREAD_STACKS.to_owned(),
                reserved_bytes: 9 << 20,
                committed_bytes: None,
                malloc_count: 3,
                malloc_bytes: 900,
                arena_bytes: 5_000,
            };
            // Less the chunks that are an arena's.
            let chunks = TrackedCategory {
                name: ARENA_CHUNKS.to_owned(),
                committed_bytes: Some(0),
                malloc_count: 10,
                malloc_bytes: 15_000,
                ..TrackedCategory::default()
            };
            assert_eq!(tracking.categories, [heap, stacks, chunks], "{counter} {mapping}");
        }
    }

    #[test]
    fn nothing_is_tracked_or_it_is_not_as_known() {
        let (symbols, memory) = jvm(4, 3, 1);
        assert_eq!(read(Reader::new(&memory), &symbols, None), Ok(None));
        let (symbols, memory) = jvm(5, 3, DETAIL);
        assert!(matches!(read(Reader::new(&memory), &symbols, None), Err(StatsError::NotDescribed(_))));
        // A stripped libjvm: the flag tells.
        let mut flags = (AT + 16).to_le_bytes().to_vec();
        flags.extend((AT + 24).to_le_bytes());
        flags.extend(b"off\0\0\0\0\0summary\0");
        flags.resize(256, 0);
        let memory = ImageMemory::new(vec![(AT, flags)]);
        let stripped = |flag| read(Reader::new(&memory), &Symbols::default(), flag);
        assert_eq!(stripped(None), Ok(None));
        assert_eq!(stripped(Some(AT)), Ok(None));
        let error = stripped(Some(AT + 8)).expect_err("not told").to_string();
        assert_eq!(
            error,
            "this JVM does not describe its totals of native memory (its libjvm has no full symbol table)"
        );
    }

    proptest::proptest! {
        #[test]
        fn any_bytes_end(bytes in proptest::collection::vec(proptest::num::u8::ANY, 0x4000)) {
            let (symbols, _) = jvm(4, 3, SUMMARY);
            let mut bytes = bytes;
            bytes[..4].copy_from_slice(&SUMMARY.to_le_bytes());
            let _ = read(Reader::new(&ImageMemory::new(vec![(AT, bytes)])), &symbols, None);
        }
    }
}
