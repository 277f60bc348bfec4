//! Holds the processor in one place of each crate: registers are named in `arch`, and in the files listed here (and in
//! ARCHITECTURE.md, "The processor") with the reason.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// Files outside `arch` that may name registers, below the workspace.
const OUTSIDE: [(&str, &str); 6] = [
    ("tracer-ebpf/src/regs.rs", "the fields of the kernel's `pt_regs`"),
    ("tracer/src/probe/placement", "which instructions a probe can be put on: a decoder's work throughout"),
    ("tracer/src/probe/calibrate.rs", "machine code that is timed"),
    ("tracer/src/unwind/row.rs", "DWARF's rules of this processor become rows"),
    ("tracer/src/unwind/table/tests.rs", "assembly that is compiled for the test"),
    ("tracer/src/unwind/modules/tests.rs", "assembly that is compiled for the test"),
];
/// Files whose tests alone may.
const TESTS: [&str; 2] = ["tracer/src/process/usdt.rs", "probes.rs"];

const WORDS: [&str; 44] = [
    "rax",
    "rbx",
    "rcx",
    "rdx",
    "rsi",
    "rdi",
    "rsp",
    "rbp",
    "rip",
    "r8",
    "r9",
    "r10",
    "r11",
    "r12",
    "r13",
    "r14",
    "r15",
    "eax",
    "ebx",
    "ecx",
    "edx",
    "esi",
    "edi",
    "RAX",
    "RBX",
    "RCX",
    "RDX",
    "RSI",
    "RDI",
    "RSP",
    "RBP",
    "pt_regs",
    "iced_x86",
    "X86_64",
    // Register sets and debug registers, system calls and marks of code that other processors do not have.
    "NT_X86_XSTATE",
    "u_debugreg",
    "DR7",
    "AUDIT_ARCH_X86_64",
    "0xc000_003e",
    "ENDBR64",
    "SYS_open",
    "SYS_stat",
    "SYS_epoll_wait",
    "EM_X86_64",
];

fn workspace() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the workspace").to_owned()
}

fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).expect("read the sources") {
        let path = entry.expect("read an entry").path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

/// The first word of `line` that names a register.
fn named(line: &str) -> Option<&str> {
    let code = line.split("//").next().unwrap_or(line);
    code.split(|c: char| !c.is_ascii_alphanumeric() && c != '_').find(|word| WORDS.contains(word))
}

#[test]
fn registers_are_named_in_arch_alone() {
    let (mut files, mut wrong, mut needed) = (Vec::new(), Vec::new(), BTreeSet::new());
    for folder in ["tracer-common/src", "tracer-ebpf/src", "tracer/src"] {
        sources(&workspace().join(folder), &mut files);
    }
    assert!(files.len() > 100);
    for file in files {
        let relative = file.strip_prefix(workspace()).expect("below the workspace");
        let name = relative.to_string_lossy().replace('\\', "/");
        let is_arch = relative.components().any(|part| part.as_os_str() == "arch");
        if is_arch || name.ends_with("/arch.rs") {
            continue;
        }
        let text = fs::read_to_string(&file).expect("read a source");
        if let Some((path, _)) = OUTSIDE.iter().find(|(path, _)| name.starts_with(path)) {
            if text.lines().any(|line| named(line).is_some()) {
                needed.insert(*path);
            }
            continue;
        }
        let text = match TESTS.iter().any(|path| name.ends_with(path)) {
            true => text.split("#[cfg(test)]").next().unwrap_or_default(),
            false => &text,
        };
        for (index, line) in text.lines().enumerate() {
            if let Some(word) = named(line) {
                wrong.push(format!("{name}:{}: {word}", index + 1));
            }
        }
    }
    assert!(wrong.is_empty(), "say it in `arch`, or list the file with its reason:\n{}", wrong.join("\n"));
    let listed: BTreeSet<&str> = OUTSIDE.iter().map(|(path, _)| *path).collect();
    assert_eq!(needed, listed, "what is listed and names no register is not outside any more");
}

#[test]
fn every_exception_is_there_and_in_the_architecture() {
    let page = fs::read_to_string(workspace().join("ARCHITECTURE.md")).expect("read ARCHITECTURE.md");
    let (_, section) = page.split_once("## The processor").expect("a section on the processor");
    for (path, reason) in OUTSIDE {
        let name = path.rsplit('/').next().expect("a name");
        let listed = section.contains(name) || (name == "tests.rs" && section.contains("unwind/"));
        assert!(listed, "{path} ({reason}) is not in ARCHITECTURE.md");
    }
    assert_eq!(named("let x = regs.rsp;"), Some("rsp"));
    assert_eq!(named("let sp = 1; // rsp"), None);
    assert_eq!(named("strip_prefix"), None);
}
