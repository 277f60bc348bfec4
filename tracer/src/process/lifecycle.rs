//! Lifecycle functions: the few by which memory is held without the program calling malloc itself, which are zlib's
//! init and end, and those with which the JDK's Unsafe asks the JVM for memory. They are watched where malloc is not.
//!
//! Takes an ELF file and its name; gives the functions that it has. zlib is the system's `libz.so`, which exports
//! them, or inside the JDK's `libzip.so`, which keeps their symbols to itself; where those were stripped, its JNI
//! functions tell of each stream all the same.

use super::allocator::Function;
use super::elf::{Elf, ElfError, Symbol, SymbolTable, Symbols};

/// The effect of a lifecycle function.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum LifecycleFunction {
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

const ZLIB: [(&str, LifecycleFunction); 8] = [
    ("inflateInit2_", LifecycleFunction::InflateInit),
    ("inflateInit_", LifecycleFunction::InflateInit),
    ("inflateCopy", LifecycleFunction::InflateInit),
    ("inflateEnd", LifecycleFunction::InflateEnd),
    ("deflateInit2_", LifecycleFunction::DeflateInit2),
    ("deflateInit_", LifecycleFunction::DeflateInit),
    ("deflateCopy", LifecycleFunction::DeflateCopy),
    ("deflateEnd", LifecycleFunction::DeflateEnd),
];
/// Functions that libzip uses: nobody else can call its own.
const ZLIB_OF_LIBZIP: [(&str, LifecycleFunction); 4] = [ZLIB[0], ZLIB[3], ZLIB[4], ZLIB[7]];
const JNI: [(&str, LifecycleFunction); 4] = [
    ("Java_java_util_zip_Inflater_init", LifecycleFunction::InflaterInit),
    ("Java_java_util_zip_Inflater_end", LifecycleFunction::InflaterEnd),
    ("Java_java_util_zip_Deflater_init", LifecycleFunction::DeflaterInit),
    ("Java_java_util_zip_Deflater_end", LifecycleFunction::DeflaterEnd),
];
/// Functions of Unsafe without the 0 that JDK 8 does not have.
const UNSAFE: [(&str, LifecycleFunction); 6] = [
    ("Unsafe_AllocateMemory0", LifecycleFunction::AllocateMemory),
    ("Unsafe_ReallocateMemory0", LifecycleFunction::ReallocateMemory),
    ("Unsafe_FreeMemory0", LifecycleFunction::FreeMemory),
    ("Unsafe_AllocateMemory", LifecycleFunction::AllocateMemory),
    ("Unsafe_ReallocateMemory", LifecycleFunction::ReallocateMemory),
    ("Unsafe_FreeMemory", LifecycleFunction::FreeMemory),
];

impl LifecycleFunction {
    /// The name of the first function that does it.
    pub fn name(self) -> &'static str {
        let mut all = ZLIB.iter().chain(&JNI).chain(&UNSAFE);
        all.find(|(_, held)| *held == self).map_or("", |(name, _)| name)
    }

    /// Does the function begin to hold something (so that its return matters)?
    pub fn begins(self) -> bool {
        !matches!(
            self,
            Self::InflateEnd | Self::DeflateEnd | Self::InflaterEnd | Self::DeflaterEnd | Self::FreeMemory
        )
    }
}

/// A function of a library.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LifecycleSymbol {
    pub function: Function,
    pub name: &'static str,
    /// ELF virtual address.
    pub vaddr: u64,
    /// Bytes, 0 if unknown.
    pub size: u64,
}

/// The lifecycle functions of a library.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LifecycleFunctions {
    pub functions: Vec<LifecycleSymbol>,
    /// A sentence about functions that cannot be watched in it, or only in another way.
    pub lacks: Option<&'static str>,
}

/// Can a library of this name hold something?
pub fn may_define(name: &str) -> bool {
    is_zlib(name) || matches!(name, "libzip.so" | "libjvm.so")
}

/// Is a library of this name the system's zlib?
pub fn is_zlib(name: &str) -> bool {
    name == "libz.so" || name.starts_with("libz.so.")
}

/// The functions of the library `elf`, whose file is called `name`.
///
/// # Errors
/// Its symbols cannot be read.
pub fn read(name: &str, elf: &Elf) -> Result<LifecycleFunctions, ElfError> {
    if is_zlib(name) {
        let functions = named(&elf.symbols(SymbolTable::Dynamic)?, &ZLIB);
        let lacks =
            functions.is_empty().then_some("it exports none of zlib's functions: streams are not seen");
        return Ok(LifecycleFunctions { functions, lacks });
    }
    match name {
        "libjvm.so" => {
            let functions = named(&elf.symbols(SymbolTable::Full)?, &UNSAFE);
            let lacks = functions.is_empty().then_some(
                "it has no symbols of its own (.symtab): direct buffers and other memory of Unsafe are not seen",
            );
            Ok(LifecycleFunctions { functions, lacks })
        }
        "libzip.so" => {
            let functions = named(&elf.symbols(SymbolTable::Full)?, &ZLIB_OF_LIBZIP);
            if !functions.is_empty() {
                return Ok(LifecycleFunctions { functions, lacks: None });
            }
            let exported = elf.symbols(SymbolTable::Dynamic)?;
            // The system's zlib is then a library of its own.
            if imports_zlib(&exported) {
                return Ok(LifecycleFunctions::default());
            }
            let functions = named(&exported, &JNI);
            let lacks = "it was stripped: Inflater and Deflater are watched at their native methods, and what the \
                         JVM itself inflates is not seen";
            Ok(LifecycleFunctions { functions, lacks: Some(lacks) })
        }
        _ => Ok(LifecycleFunctions::default()),
    }
}

/// Does the library `elf` call the system's zlib?
pub fn calls_zlib(elf: &Elf) -> bool {
    elf.symbols(SymbolTable::Dynamic).is_ok_and(|symbols| imports_zlib(&symbols))
}

fn imports_zlib(exported: &Symbols) -> bool {
    exported.iter().any(|symbol| symbol.section == 0 && symbol.name == b"inflateInit2_")
}

fn named(symbols: &Symbols, wanted: &[(&'static str, LifecycleFunction)]) -> Vec<LifecycleSymbol> {
    let mut functions: Vec<LifecycleSymbol> = Vec::new();
    let defined = symbols.iter().filter(|symbol| symbol.section != 0 && symbol.kind == Symbol::FUNCTION);
    for symbol in defined {
        let Some((name, held)) = wanted.iter().find(|(name, _)| name.as_bytes() == symbol.name) else {
            continue;
        };
        // A second name of one address would count each call twice.
        if !functions.iter().any(|known| known.vaddr == symbol.vaddr) {
            let Symbol { vaddr, size, .. } = symbol;
            functions.push(LifecycleSymbol { function: Function::Lifecycle(*held), name, vaddr, size });
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
            assert_eq!(may_define(name), expected, "{name}");
        }
        assert_eq!(LifecycleFunction::InflateInit.name(), "inflateInit2_");
        assert_eq!(LifecycleFunction::FreeMemory.name(), "Unsafe_FreeMemory0");
    }

    /// The functions of each library that must be there, where it is installed.
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
