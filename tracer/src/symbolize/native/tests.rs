//! Native names of this process, and of programs made for the test.

use std::process::Command;

use proptest::prelude::*;

use super::*;
use crate::process::Pid;

unsafe extern "C" {
    fn malloc(size: usize) -> *mut std::ffi::c_void;
    fn qsort();
}

fn own() -> Native {
    let pid = Pid::own();
    let mut native = Native::new(pid);
    native.set_modules(&modules(pid, &mapping::read(pid).unwrap()));
    native
}

#[inline(never)]
fn a_function_of_this_test() -> u64 {
    std::hint::black_box(7)
}

#[test]
fn functions_of_this_process() {
    let mut native = own();
    let address = a_function_of_this_test as *const () as u64;
    for (pc, exact) in [(address, true), (address + 1, false)] {
        let frames = native.frames(pc, exact);
        let frame = frames.last().unwrap();
        assert!(frame.function.ends_with("native::tests::a_function_of_this_test"), "{frame:?}");
        assert!(frame.file.as_deref().is_some_and(|file| file.ends_with("native/tests.rs")), "{frame:?}");
        assert!(frame.line.is_some() && frame.build_id.is_some() && frame.offset.is_some());
        assert_eq!((frame.kind, frame.unknown), (FrameKind::Native, None));
    }
    // A return address at a function's start belongs to the function before.
    let before = native.frames(address, false);
    assert!(!before.last().unwrap().function.ends_with("a_function_of_this_test"));

    for (function, name) in [(malloc as *const () as u64, "malloc"), (qsort as *const () as u64, "qsort")] {
        let frames = native.frames(function, true);
        assert_eq!(frames.len(), 1);
        assert!(frames[0].function.contains(name), "{frames:?}");
        assert!(frames[0].module.as_deref().is_some_and(|module| module.contains("libc")), "{frames:?}");
    }
}

#[test]
fn a_library_that_nobody_told_of_is_found() {
    let mut native = Native::new(Pid::own());
    assert!(native.frames(malloc as *const () as u64, true)[0].function.contains("malloc"));
}

#[test]
fn what_is_no_code_says_why() {
    let mut native = own();
    let frame = native.frames(0x10, true)[0].clone();
    assert_eq!(
        (frame.unknown, frame.function.as_str()),
        (Some(UnknownReason::NoMapping), "[unknown: no mapping]")
    );
    let mappings = mapping::read(Pid::own()).unwrap();
    let vdso = mappings.iter().find(|mapping| mapping.path == "[vdso]").unwrap();
    let frame = native.frames(vdso.start + 1, true)[0].clone();
    assert_eq!((frame.unknown, frame.module.as_deref()), (Some(UnknownReason::NoFile), Some("[vdso]")));
}

/// Compiles `source` to a library, and gives a module as if it were mapped at `address`.
fn library(folder: &std::path::Path, source: &str, flags: &[&str]) -> std::path::PathBuf {
    let (input, output) = (folder.join("l.cpp"), folder.join("l.so"));
    std::fs::write(&input, source).unwrap();
    let mut command = Command::new("c++");
    command.args(["-shared", "-fPIC", "-O0"]).args(flags).arg("-o").arg(&output).arg(&input);
    assert!(command.status().unwrap().success());
    output
}

/// The names in a file that is mapped nowhere, at the symbol called `mangled`.
fn names(file: &std::path::Path, mangled: &[u8]) -> Result<Vec<Frame>, UnknownReason> {
    let elf = Elf::read(File::open(file).unwrap()).unwrap();
    let vaddr = [crate::process::elf::SymbolTable::Dynamic, crate::process::elf::SymbolTable::Full]
        .iter()
        .find_map(|which| {
            let symbols = elf.symbols(*which).unwrap();
            symbols.iter().find(|symbol| symbol.name == mangled && symbol.section != 0).map(|s| s.vaddr)
        })
        .unwrap();
    let symbols = Symbols::read(Some(&elf))?;
    symbols.frames(&blazesym::symbolize::Symbolizer::new(), vaddr + 1)
}

#[test]
fn names_are_demangled_and_inlined_functions_shown() {
    let folder = tempfile::tempdir().unwrap();
    let source = "namespace a { template<class T> struct B { __attribute__((noinline)) T get(T t) { return t; } }; }\n\
                  template struct a::B<int>;\n\
                  static inline __attribute__((always_inline)) int inner(volatile int *p) { return *p + 1; }\n\
                  extern \"C\" int outer(volatile int *p) {\n\
                    return inner(p); }\n";
    let file = library(folder.path(), source, &["-O1"]);
    let found = names(&file, b"_ZN1a1BIiE3getEi").map(|frames| frames[0].function.clone());
    assert_eq!(found.as_deref(), Ok("a::B<int>::get(int)"));

    let file = library(folder.path(), source, &["-O1", "-g"]);
    let elf = Elf::read(File::open(&file).unwrap()).unwrap();
    assert!(elf.sections().unwrap().iter().any(|section| section.name == ".debug_info"));
    let symbols = Symbols::read(Some(&elf)).unwrap();
    let table = elf.symbols(crate::process::elf::SymbolTable::Full).unwrap();
    let outer = table.iter().find(|symbol| symbol.name == b"outer").unwrap();
    let symbolizer = blazesym::symbolize::Symbolizer::new();
    let all: Vec<Vec<Frame>> =
        (0..outer.size).map(|at| symbols.frames(&symbolizer, outer.vaddr + at).unwrap()).collect();
    let inlined = all.iter().find(|frames| frames.len() == 2).expect("inner is inlined somewhere");
    assert_eq!(
        (inlined[0].function.as_str(), inlined[0].tier, inlined[0].line),
        ("inner", Some(Tier::Inlined), Some(3))
    );
    assert_eq!((inlined[1].function.as_str(), inlined[1].tier, inlined[1].line), ("outer", None, Some(5)));
}

#[test]
fn both_parts_of_a_split_function_are_its_own() {
    let folder = tempfile::tempdir().unwrap();
    let source = "extern \"C\" { void fail(int) __attribute__((noreturn, cold));\n\
                  int split(int a) { if (__builtin_expect(a > 7, 0)) { fail(a); } return a + 1; }\n\
                  int rest(int a) { return a - 1; } }";
    for debug in [&[][..], &["-g"]] {
        let flags = [&["-O2", "-Wl,-z,undefs"], debug].concat();
        let file = library(folder.path(), source, &flags);
        let elf = Elf::read(File::open(&file).unwrap()).unwrap();
        let symbols = Symbols::read(Some(&elf)).unwrap();
        let symbolizer = blazesym::symbolize::Symbolizer::new();
        let table = elf.symbols(crate::process::elf::SymbolTable::Full).unwrap();
        let parts: Vec<_> = table.iter().filter(|symbol| symbol.name.starts_with(b"split")).collect();
        assert_eq!(parts.len(), 2, "the compiler no longer splits it");
        for part in parts {
            let frames = symbols.frames(&symbolizer, part.vaddr + part.size - 1).unwrap();
            assert!(frames[0].function.starts_with("split"), "{frames:?}");
        }
    }
}

#[test]
fn a_stripped_library_has_only_its_exported_names() {
    let folder = tempfile::tempdir().unwrap();
    let source = "extern \"C\" { __attribute__((noinline)) static int hidden(int a) { return a * 3; }\n\
                  int shown(int a) { return hidden(a) + 1; } }";
    let file = library(folder.path(), source, &[]);
    let elf = Elf::read(File::open(&file).unwrap()).unwrap();
    let table = elf.symbols(crate::process::elf::SymbolTable::Full).unwrap();
    let hidden = table.iter().find(|symbol| symbol.name.windows(6).any(|w| w == b"hidden")).unwrap().vaddr;
    assert!(Command::new("strip").arg(&file).status().unwrap().success());
    assert_eq!(names(&file, b"shown").unwrap()[0].function, "shown");
    let elf = Elf::read(File::open(&file).unwrap()).unwrap();
    let symbols = Symbols::read(Some(&elf)).unwrap();
    let found = symbols.frames(&blazesym::symbolize::Symbolizer::new(), hidden + 4);
    assert_eq!(found, Err(UnknownReason::NoSymbol), "never the nearest exported one");
}

#[test]
fn what_was_mapped_before_is_remembered_until_something_else_is_there() {
    let mut native = Native::new(Pid::own());
    let mut map = |start, end, file| {
        native.forget(start, end);
        native.ranges.insert(start, Range { end, file, load_bias: 0 });
        native.ranges.iter().map(|(start, range)| (*start, range.end, range.file)).collect::<Vec<_>>()
    };
    map(0x1000, 0x5000, 1);
    assert_eq!(map(0x2000, 0x3000, 2), [(0x1000, 0x2000, 1), (0x2000, 0x3000, 2), (0x3000, 0x5000, 1)]);
    assert_eq!(
        map(0x2800, 0x4000, 3),
        [(0x1000, 0x2000, 1), (0x2000, 0x2800, 2), (0x2800, 0x4000, 3), (0x4000, 0x5000, 1)]
    );
    assert_eq!(map(0, 0x9000, 4), [(0, 0x9000, 4)]);
}

#[test]
fn names_outlive_the_process() {
    let mut child = Command::new("sleep").arg("60").spawn().unwrap();
    let pid = Pid(child.id());
    // Until it has become `sleep`, and all of its C library is there.
    while !std::fs::read_to_string(pid.path("stat")).unwrap().contains("(sleep) S") {
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    let found = modules(pid, &mapping::read(pid).unwrap());
    let mut native = Native::new(pid);
    native.set_modules(&found);
    child.kill().unwrap();
    child.wait().unwrap();
    let libc = found.iter().find(|module| module.path.contains("libc")).unwrap();
    let elf = Elf::read(File::open(libc.path.as_str()).unwrap()).unwrap();
    let symbols = elf.symbols(crate::process::elf::SymbolTable::Dynamic).unwrap();
    let calloc = symbols.iter().find(|symbol| symbol.name == b"calloc").unwrap();
    let frames = native.frames(libc.address(calloc.vaddr), true);
    assert!(frames[0].function.contains("calloc"), "{frames:?}");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, ..ProptestConfig::default() })]

    #[test]
    fn a_broken_file_costs_names_and_nothing_else(
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..60),
        in_headers in any::<bool>(),
        vaddrs in prop::collection::vec(0_u64..0x20000, 1..8),
    ) {
        let path = std::path::Path::new("/lib/x86_64-linux-gnu/libz.so.1");
        let mut bytes = std::fs::read(path).or_else(|_| std::fs::read("/bin/true")).unwrap();
        // The section headers are last.
        let first = if in_headers { bytes.len() - 64 * 28 } else { 0 };
        for (index, value) in changes {
            let at = first + index.index(bytes.len() - first);
            bytes[at] = value;
        }
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("broken.so");
        std::fs::write(&file, bytes).unwrap();
        if let Ok(elf) = Elf::read(File::open(&file).unwrap())
            && let Ok(symbols) = Symbols::read(Some(&elf))
        {
            let symbolizer = blazesym::symbolize::Symbolizer::new();
            for vaddr in vaddrs {
                let _ = symbols.frames(&symbolizer, vaddr);
            }
            prop_assert!(!symbols.poisoned.get());
        }
    }
}
