//! The few functions by which memory is held without the program calling malloc itself: zlib's init and end, and
//! those that the JDK's Unsafe asks the JVM for memory with. They are what is watched where malloc is not.
//!
//! Takes an ELF file and its name; gives the functions that it has. zlib is the system's `libz.so`, which exports
//! them, or inside the JDK's `libzip.so`, which keeps their symbols to itself; where those were stripped, its JNI
//! functions tell of each stream all the same.

use super::allocator::Function;
use super::elf::{Elf, ElfError, Symbol, SymbolTable, Symbols};

/// What such a function does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Held {
    /// `inflateInit2_(stream, ...)`, and what takes and returns the same.
    InflateInit,
    /// `deflateInit_(stream, ...)`.
    DeflateInit,
    /// `deflateInit2_(stream, level, method, window bits, memory level, ...)`.
    DeflateInit2,
    /// `deflateCopy(new stream, old stream)`.
    DeflateCopy,
    /// `inflateEnd(stream)`.
    InflateEnd,
    /// `deflateEnd(stream)`.
    DeflateEnd,
    /// The native method `Inflater.init`, which returns the stream.
    InflaterInit,
    /// `Deflater.init`, likewise.
    DeflaterInit,
    /// `Inflater.end(stream)`.
    InflaterEnd,
    /// `Deflater.end(stream)`.
    DeflaterEnd,
    /// `Unsafe.allocateMemory0(size)`.
    AllocateMemory,
    /// `Unsafe.reallocateMemory0(address, size)`.
    ReallocateMemory,
    /// `Unsafe.freeMemory0(address)`.
    FreeMemory,
}

const ZLIB: [(&str, Held); 8] = [
    ("inflateInit2_", Held::InflateInit),
    ("inflateInit_", Held::InflateInit),
    ("inflateCopy", Held::InflateInit),
    ("inflateEnd", Held::InflateEnd),
    ("deflateInit2_", Held::DeflateInit2),
    ("deflateInit_", Held::DeflateInit),
    ("deflateCopy", Held::DeflateCopy),
    ("deflateEnd", Held::DeflateEnd),
];
/// Of those, the ones that libzip uses: nobody else can call its own.
const ZLIB_OF_LIBZIP: [(&str, Held); 4] = [ZLIB[0], ZLIB[3], ZLIB[4], ZLIB[7]];
const JNI: [(&str, Held); 4] = [
    ("Java_java_util_zip_Inflater_init", Held::InflaterInit),
    ("Java_java_util_zip_Inflater_end", Held::InflaterEnd),
    ("Java_java_util_zip_Deflater_init", Held::DeflaterInit),
    ("Java_java_util_zip_Deflater_end", Held::DeflaterEnd),
];
/// Without the 0 in JDK 8.
const UNSAFE: [(&str, Held); 6] = [
    ("Unsafe_AllocateMemory0", Held::AllocateMemory),
    ("Unsafe_ReallocateMemory0", Held::ReallocateMemory),
    ("Unsafe_FreeMemory0", Held::FreeMemory),
    ("Unsafe_AllocateMemory", Held::AllocateMemory),
    ("Unsafe_ReallocateMemory", Held::ReallocateMemory),
    ("Unsafe_FreeMemory", Held::FreeMemory),
];

impl Held {
    /// The name of the first function that does it.
    pub fn name(self) -> &'static str {
        let mut all = ZLIB.iter().chain(&JNI).chain(&UNSAFE);
        all.find(|(_, held)| *held == self).map_or("", |(name, _)| name)
    }

    /// Does it begin to hold something (so that its return matters)?
    pub fn begins(self) -> bool {
        !matches!(
            self,
            Self::InflateEnd | Self::DeflateEnd | Self::InflaterEnd | Self::DeflaterEnd | Self::FreeMemory
        )
    }
}

/// A function of a library.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeldFunction {
    pub function: Function,
    pub name: &'static str,
    /// ELF virtual address.
    pub vaddr: u64,
    /// Bytes, 0 if unknown.
    pub size: u64,
}

/// What a library has of them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Holding {
    pub functions: Vec<HeldFunction>,
    /// What cannot be watched in it, or only in another way.
    pub lacks: Option<&'static str>,
}

/// Can a library of this name hold something?
pub fn may_hold(name: &str) -> bool {
    is_zlib(name) || matches!(name, "libzip.so" | "libjvm.so")
}

/// Is it the system's zlib?
pub fn is_zlib(name: &str) -> bool {
    name == "libz.so" || name.starts_with("libz.so.")
}

/// The functions of the library `elf`, whose file is called `name`.
///
/// # Errors
/// Its symbols cannot be read.
pub fn read(name: &str, elf: &Elf) -> Result<Holding, ElfError> {
    if is_zlib(name) {
        let functions = named(&elf.symbols(SymbolTable::Dynamic)?, &ZLIB);
        let lacks =
            functions.is_empty().then_some("it exports none of zlib's functions: streams are not seen");
        return Ok(Holding { functions, lacks });
    }
    match name {
        "libjvm.so" => {
            let functions = named(&elf.symbols(SymbolTable::Full)?, &UNSAFE);
            let lacks = functions.is_empty().then_some(
                "it has no symbols of its own (.symtab): direct buffers and other memory of Unsafe are not seen",
            );
            Ok(Holding { functions, lacks })
        }
        "libzip.so" => {
            let functions = named(&elf.symbols(SymbolTable::Full)?, &ZLIB_OF_LIBZIP);
            if !functions.is_empty() {
                return Ok(Holding { functions, lacks: None });
            }
            let exported = elf.symbols(SymbolTable::Dynamic)?;
            // The system's zlib is then a library of its own.
            if imports_zlib(&exported) {
                return Ok(Holding::default());
            }
            let functions = named(&exported, &JNI);
            let lacks = "it was stripped: Inflater and Deflater are watched at their native methods, and what the \
                         JVM itself inflates is not seen";
            Ok(Holding { functions, lacks: Some(lacks) })
        }
        _ => Ok(Holding::default()),
    }
}

/// Does the library `elf` call the system's zlib?
pub fn calls_zlib(elf: &Elf) -> bool {
    elf.symbols(SymbolTable::Dynamic).is_ok_and(|symbols| imports_zlib(&symbols))
}

fn imports_zlib(exported: &Symbols) -> bool {
    exported.iter().any(|symbol| symbol.section == 0 && symbol.name == b"inflateInit2_")
}

fn named(symbols: &Symbols, wanted: &[(&'static str, Held)]) -> Vec<HeldFunction> {
    let mut functions: Vec<HeldFunction> = Vec::new();
    let defined = symbols.iter().filter(|symbol| symbol.section != 0 && symbol.kind == Symbol::FUNCTION);
    for symbol in defined {
        let Some((name, held)) = wanted.iter().find(|(name, _)| name.as_bytes() == symbol.name) else {
            continue;
        };
        // A second name of one address would count each call twice.
        if !functions.iter().any(|known| known.vaddr == symbol.vaddr) {
            let Symbol { vaddr, size, .. } = symbol;
            functions.push(HeldFunction { function: Function::Held(*held), name, vaddr, size });
        }
    }
    functions.sort_by_key(|function| (function.function, function.vaddr));
    functions
}

#[cfg(test)]
mod tests {
    use std::fs::File;

    use super::*;

    #[test]
    fn names_are_told_apart() {
        for (name, expected) in [
            ("libz.so.1", true),
            ("libz.so.1.2.13", true),
            ("libzip.so", true),
            ("libjvm.so", true),
            ("libzip.so.5", false),
            ("libzstd.so.1", false),
            ("libz.something", false),
        ] {
            assert_eq!(may_hold(name), expected, "{name}");
        }
        assert_eq!(Held::InflateInit.name(), "inflateInit2_");
        assert_eq!(Held::FreeMemory.name(), "Unsafe_FreeMemory0");
    }

    /// Of each library the functions that must be there, where it is installed.
    #[test]
    fn in_libraries_of_this_machine() {
        let system = ("/lib/x86_64-linux-gnu/libz.so.1", "libz.so.1", 8);
        let bundled = ("/usr/lib/jvm/temurin-25-jdk-amd64/lib/libzip.so", "libzip.so", 4);
        let shared = ("/usr/lib/jvm/java-17-openjdk-amd64/lib/libzip.so", "libzip.so", 0);
        let jvm = ("/usr/lib/jvm/java-17-openjdk-amd64/lib/server/libjvm.so", "libjvm.so", 3);
        for (path, name, count) in [system, bundled, shared, jvm] {
            let Ok(file) = File::open(path) else { continue };
            let holding = read(name, &Elf::read(file).unwrap()).unwrap();
            assert_eq!(holding.functions.len(), count, "{path}: {holding:?}");
            assert_eq!(holding.lacks, None, "{path}");
        }
    }
}
