//! Identity of a JVM: version, vendor, collector, and the values of its flags.

use std::collections::HashMap;

use super::HotspotError;
use super::layout::FlagLayout;
use super::pages::Pages;
use super::read::{ReadError, Reader};
use super::symbols::{RUNTIME_VENDOR_VERSION, Symbols};
use super::vmstructs::VmStructs;
use crate::process::memory::ProcessMemory;

/// Texts before the version in the JVM's own line about itself, and after it.
const VERSION_START: &str = " JRE (";
const VERSION_END: char = ')';
/// The JVM's line about itself is not longer.
const MAX_LINE: usize = 512;
/// No JVM has more flags (the most seen is 1,449).
const MAX_FLAGS: u64 = 1 << 14;
/// The longest name of a flag.
const MAX_FLAG_NAME: usize = 128;

/// Flags that choose a collector, and what it is called.
const COLLECTORS: [(&str, &str); 7] = [
    ("UseG1GC", "G1"),
    ("UseParallelGC", "Parallel"),
    ("UseSerialGC", "Serial"),
    ("UseZGC", "ZGC"),
    ("UseShenandoahGC", "Shenandoah"),
    ("UseConcMarkSweepGC", "CMS"),
    ("UseEpsilonGC", "Epsilon"),
];

/// The version of a JVM.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Version {
    /// Version in full, as `java -version` prints it: "17.0.9+9", "1.8.0_504-b01".
    pub(super) text: String,
    /// 8, 11, 17, ...
    pub(super) feature: u32,
}

impl Version {
    /// # Errors
    /// `Unsupported` if the JVM does not say it.
    pub(super) fn read(reader: Reader<'_>, structs: &VmStructs) -> Result<Self, HotspotError> {
        let variable = "Abstract_VM_Version::_s_internal_vm_info_string";
        let line = reader.u64(structs.address(&[variable])?).and_then(|text| reader.c_string(text, MAX_LINE));
        line.ok()
            .as_deref()
            .and_then(parse_version)
            .ok_or(HotspotError::Unsupported { missing: variable.into() })
    }
}

/// Takes "OpenJDK 64-Bit Server VM (17.0.9+9) for linux-amd64 JRE (17.0.9+9), built on ...".
fn parse_version(line: &str) -> Option<Version> {
    let (_, rest) = line.split_once(VERSION_START)?;
    let (text, _) = rest.split_once(VERSION_END)?;
    let numbers = text.strip_prefix("1.").unwrap_or(text);
    let digits = numbers.split(|c: char| !c.is_ascii_digit()).next()?;
    Some(Version { text: text.to_owned(), feature: digits.parse().ok()? })
}

/// The vendor's name of this build ("Temurin-17.0.9+9"), if the JVM has its private symbols.
pub(super) fn vendor(reader: Reader<'_>, symbols: &Symbols) -> Option<String> {
    let pointer = reader.u64(symbols.address(RUNTIME_VENDOR_VERSION)?).ok()?;
    reader.c_string(pointer, MAX_LINE).ok().filter(|text| !text.is_empty())
}

/// Addresses of flags' values, by name.
#[derive(Clone, Debug, Default)]
pub(super) struct Flags {
    addresses: HashMap<String, u64>,
}

impl Flags {
    /// Reads the table of flags.
    pub(super) fn read(memory: &dyn ProcessMemory, layout: &FlagLayout) -> Result<Self, ReadError> {
        let pages = Pages::new(memory);
        let reader = Reader::new(&pages);
        let first = reader.pointer(layout.flags)?;
        let count = reader.u64(layout.count)?;
        if count > MAX_FLAGS {
            return Err(ReadError::OutOfBounds(count));
        }
        let mut addresses = HashMap::new();
        for index in 0..count {
            let flag = reader.record(first + index * layout.bytes, layout.bytes)?;
            // The last has no name.
            let Ok(name) = reader.c_string(flag.field(layout.name)?, MAX_FLAG_NAME) else { continue };
            addresses.insert(name, flag.field(layout.value)?);
        }
        Ok(Self { addresses })
    }

    /// Address of the value of the flag `name`.
    pub(super) fn address(&self, name: &str) -> Option<u64> {
        self.addresses.get(name).copied()
    }

    /// The value of the boolean flag `name`.
    pub(super) fn is_set(&self, reader: Reader<'_>, name: &str) -> Option<bool> {
        let mut value = [0];
        reader.fill(self.address(name)?, &mut value).ok()?;
        Some(value != [0])
    }

    /// The collector in use.
    pub(super) fn collector(&self, reader: Reader<'_>) -> Option<&'static str> {
        let chosen = COLLECTORS.iter().find(|(flag, _)| self.is_set(reader, flag) == Some(true));
        chosen.map(|(_, name)| *name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions() {
        let parsed = |line: &str| parse_version(line).map(|version| (version.text, version.feature));
        let line = |version: &str| {
            format!("OpenJDK 64-Bit Server VM (25.5-b01) for linux-amd64 JRE ({version}), built on")
        };
        assert_eq!(parsed(&line("17.0.9+9")), Some(("17.0.9+9".into(), 17)));
        assert_eq!(parsed(&line("1.8.0_504-b01")), Some(("1.8.0_504-b01".into(), 8)));
        assert_eq!(parsed(&line("26-ea")), Some(("26-ea".into(), 26)));
        assert_eq!(parsed(&line("x")), None);
        assert_eq!(parsed("OpenJ9"), None);
    }
}
