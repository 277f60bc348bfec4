//! USDT probes: static probe points that a module carries, from its `.note.stapsdt` section.
//!
//! The format is SystemTap's (`sys/sdt.h`, note version 3): three addresses (the probe's, that of
//! `.stapsdt.base` at link time, the semaphore), then provider, name and arguments as strings. An
//! argument is `SIZE@OPERAND` in the assembler's AT&T syntax; SIZE is negative if signed.
//! Notes and arguments that cannot be read are passed over, each alone.

use tracer_common::arch::dwarf_number;
use tracer_common::table::{USDT_ARGUMENTS, UsdtArgument, UsdtSpec, usdt_location};

use super::elf::{Elf, ElfError, Notes, u64_at, until_zero};

/// libjvm has about 540.
const MAX_PROBES: usize = 65_536;
const MAX_SECTION_BYTES: u64 = 16 << 20;

/// A site of a USDT probe; a probe that was inlined has several.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Probe {
    pub provider: String,
    pub name: String,
    /// ELF virtual address of the nop.
    pub vaddr: u64,
    pub file_offset: u64,
    /// ELF virtual address of the counter that enables it; 0: always enabled.
    pub semaphore: u64,
    /// Locations of the arguments at this site.
    pub arguments: UsdtSpec,
}

/// The probes of a module; none if it has no such section.
///
/// # Errors
/// The section cannot be read.
pub fn read(elf: &Elf) -> Result<Vec<Probe>, ElfError> {
    let sections = elf.sections()?;
    let Some(notes) = sections.iter().find(|section| section.name == ".note.stapsdt") else {
        return Ok(Vec::new());
    };
    if notes.size > MAX_SECTION_BYTES {
        return Err(ElfError::Malformed("the size of .note.stapsdt"));
    }
    let base = sections.iter().find(|section| section.name == ".stapsdt.base").map(|section| section.vaddr);
    let bytes = elf.section_bytes(notes)?;
    let probes = Notes::new(&bytes).take(MAX_PROBES).filter(|note| note.kind == 3 && note.name == b"stapsdt");
    Ok(probes.filter_map(|note| probe(elf, base, note.contents)).collect())
}

fn probe(elf: &Elf, base: Option<u64>, contents: &[u8]) -> Option<Probe> {
    let mut strings = contents.get(24..)?;
    let mut string = || {
        let string = until_zero(strings);
        strings = strings.get(string.len() + 1..).unwrap_or_default();
        String::from_utf8_lossy(string).into_owned()
    };
    let (provider, name, arguments) = (string(), string(), string());
    // prelink moves sections without rewriting notes.
    let moved = base.map_or(0, |base| base.wrapping_sub(u64_at(contents, 8)));
    let vaddr = u64_at(contents, 0).wrapping_add(moved);
    let semaphore = match u64_at(contents, 16) {
        0 => 0,
        address => address.wrapping_add(moved),
    };
    // Outside the code it cannot be probed.
    let file_offset = elf.code_offset(vaddr)?;
    Some(Probe { provider, name, vaddr, file_offset, semaphore, arguments: parse_arguments(&arguments) })
}

/// Reads an argument string. An argument that the BPF side cannot fetch (an index register, a
/// vector register, a symbol) is [`usdt_location::NONE`].
pub fn parse_arguments(text: &str) -> UsdtSpec {
    let mut spec = UsdtSpec::ZERO;
    for (slot, argument) in spec.arguments.iter_mut().zip(text.split_ascii_whitespace().take(USDT_ARGUMENTS))
    {
        *slot = parse_argument(argument).unwrap_or(UsdtArgument::ZERO);
    }
    spec
}

fn parse_argument(text: &str) -> Option<UsdtArgument> {
    let (size, operand) = text.split_once('@')?;
    let size: i8 = size.parse().ok()?;
    let mut argument =
        UsdtArgument { size_bytes: size.unsigned_abs(), signed: u8::from(size < 0), ..UsdtArgument::ZERO };
    if !matches!(argument.size_bytes, 1 | 2 | 4 | 8) {
        return None;
    }
    if let Some(constant) = operand.strip_prefix('$') {
        argument.location = usdt_location::CONSTANT;
        argument.value = integer(constant)?;
    } else if let Some(name) = operand.strip_prefix('%') {
        argument.location = usdt_location::REGISTER;
        argument.register = dwarf_number(name)?;
    } else {
        let (displacement, base) = operand.strip_suffix(')')?.split_once('(')?;
        argument.location = usdt_location::MEMORY;
        argument.value = if displacement.is_empty() { 0 } else { integer(displacement)? };
        argument.register = dwarf_number(base.strip_prefix('%')?)?;
    }
    Some(argument)
}

/// Decimal or `0x` hexadecimal, perhaps negative.
fn integer(text: &str) -> Option<i64> {
    let (negative, digits) = text.strip_prefix('-').map_or((false, text), |digits| (true, digits));
    let value = match digits.strip_prefix("0x") {
        Some(hex) => u64::from_str_radix(hex, 16).ok()?,
        None => digits.parse::<u64>().ok()?,
    };
    // A 64-bit constant may be written unsigned.
    Some(if negative { value.cast_signed().wrapping_neg() } else { value.cast_signed() })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::fs::File;

    use super::*;

    fn argument(location: u8, register: u8, value: i64, size: i8) -> UsdtArgument {
        UsdtArgument {
            value,
            location,
            register,
            size_bytes: size.unsigned_abs(),
            signed: u8::from(size < 0),
            reserved: 0,
        }
    }

    #[test]
    fn every_form_of_operand() {
        let spec =
            parse_arguments("8@%rdi -4@%esi 8@-24(%rbp) 4@$1 8@8(%rsp) 1@%r12b -8@$-1 8@(%rax) 2@%r9w");
        let expected = [
            argument(usdt_location::REGISTER, 5, 0, 8),
            argument(usdt_location::REGISTER, 4, 0, -4),
            argument(usdt_location::MEMORY, 6, -24, 8),
            argument(usdt_location::CONSTANT, 0, 1, 4),
            argument(usdt_location::MEMORY, 7, 8, 8),
            argument(usdt_location::REGISTER, 12, 0, 1),
            argument(usdt_location::CONSTANT, 0, -1, -8),
            argument(usdt_location::MEMORY, 0, 0, 8),
            argument(usdt_location::REGISTER, 9, 0, 2),
        ];
        assert_eq!(spec.arguments[..9], expected);
        assert_eq!(spec.arguments[9], UsdtArgument::ZERO);
    }

    #[test]
    fn what_cannot_be_fetched_is_none_and_keeps_its_place() {
        let spec = parse_arguments("8@(%rax,%rbx,8) 8@sym(%rip) 8@%xmm0 3@%rdi @ 8@%r16 8@%rdx");
        assert!(spec.arguments[..6].iter().all(|argument| *argument == UsdtArgument::ZERO), "{spec:?}");
        assert_eq!(spec.arguments[6], argument(usdt_location::REGISTER, 1, 0, 8));
        assert_eq!(parse_arguments(&"8@%rdi ".repeat(99)).arguments.len(), USDT_ARGUMENTS);
    }

    /// The probes that are used, in each runtime that is installed.
    #[test]
    fn hotspot_s_own() {
        let wanted = [
            "gc__begin",
            "gc__end",
            "compiled__method__load",
            "compiled__method__unload",
            "thread__start",
            "thread__stop",
        ];
        let mut runtimes = 0;
        for home in ["/usr/lib/jvm/java-17-openjdk-amd64", "/usr/lib/jvm/temurin-25-jdk-amd64"] {
            let Ok(file) = File::open(format!("{home}/lib/server/libjvm.so")) else { continue };
            runtimes += 1;
            let elf = Elf::read(file).unwrap();
            let probes = read(&elf).unwrap();
            let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
            for probe in probes.iter().filter(|probe| probe.provider == "hotspot") {
                *counts.entry(probe.name.as_str()).or_default() += 1;
                assert_eq!(probe.semaphore, 0);
                // A probe is a nop in the file.
                assert_eq!(elf.bytes(probe.file_offset, 1).unwrap(), [0x90], "{}", probe.name);
            }
            println!(
                "{home}: {} sites, {:?}",
                probes.len(),
                wanted.map(|name| (name, counts.get(name).copied()))
            );
            for name in wanted {
                assert!(counts.contains_key(name), "{home}: {name}");
            }
            let arguments = |name: &str| {
                let probe = probes.iter().find(|probe| probe.name == name).unwrap();
                probe
                    .arguments
                    .arguments
                    .iter()
                    .filter(|argument| argument.location != usdt_location::NONE)
                    .count()
            };
            assert_eq!(arguments("compiled__method__load"), 8, "{home}");
            assert_eq!(arguments("thread__start"), 5, "{home}");
        }
        if runtimes == 0 {
            println!("skipped: no JDK is installed");
        }
    }
}
