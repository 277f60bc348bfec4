//! vmStructs: the tables in which HotSpot describes its own structures to debuggers.
//!
//! Takes the addresses of the exported variables and the target's memory; gives every type, field
//! and constant by name. The tables do not change once libjvm is loaded, relocated and initialized.
//! Source: HotSpot, `runtime/vmStructs.hpp`; their form is the same from JDK 8 on, and every stride
//! and offset is itself exported.

use std::collections::HashMap;

use super::pages::Pages;
use super::read::{ReadError, Reader, Record};
use super::symbols::Symbols;
use super::{HotspotError, HotspotError::Unsupported};
use crate::process::memory::ProcessMemory;

/// Tables and the variables that tell of them are filled in by the dynamic linker and by static
/// initializers: before that they hold anything.
const UNFILLED: HotspotError = HotspotError::NotReady("vmStructs");
/// No table has more entries (the largest seen has about 2,500).
const MAX_ENTRIES: usize = 1 << 15;
/// No entry is larger (48 bytes are usual).
const MAX_STRIDE: u64 = 256;
/// No structure has a field further from its start: so adding offsets to addresses cannot overflow.
const MAX_OFFSET: u64 = 1 << 16;
/// No name is longer.
const MAX_NAME: usize = 256;

/// Number of bytes a field has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Width {
    One,
    Two,
    Four,
    Eight,
}

impl Width {
    pub(super) const fn bytes(self) -> usize {
        match self {
            Self::One => 1,
            Self::Two => 2,
            Self::Four => 4,
            Self::Eight => 8,
        }
    }
}

/// Place of a field in its structure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Field {
    /// Bytes from the structure's start.
    pub(super) offset: u64,
    pub(super) width: Width,
}

/// An entry of the field table.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Entry {
    /// The C++ type as text: widths change between versions, and this says so.
    type_text: String,
    place: Place,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    Offset(u64),
    /// Address of a static variable.
    Address(u64),
}

/// Every type, field and constant that a JVM describes.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct VmStructs {
    /// Entries by "Type::field".
    fields: HashMap<String, Entry>,
    /// Bytes, by type.
    sizes: HashMap<String, u64>,
    constants: HashMap<String, i64>,
}

impl VmStructs {
    /// Reads all tables.
    ///
    /// # Errors
    /// `Unsupported` naming the variable that libjvm does not export; `NotReady` if the tables make no
    /// sense (yet).
    pub(super) fn read(symbols: &Symbols, memory: &dyn ProcessMemory) -> Result<Self, HotspotError> {
        let pages = Pages::new(memory);
        let tables = Tables { symbols, reader: Reader::new(&pages) };
        let mut all = Self::default();
        tables.fields(&mut all.fields)?;
        tables.sizes(&mut all.sizes)?;
        tables.constants("Int", Width::Four, &mut all.constants)?;
        tables.constants("Long", Width::Eight, &mut all.constants)?;
        Ok(all)
    }

    /// Is nothing described (yet)?
    pub(super) fn is_empty(&self) -> bool {
        self.fields.is_empty()
    }

    /// The first of the fields `names` ("Type::field") that exists, with the width its type has.
    pub(super) fn field(&self, names: &[&str]) -> Result<Field, HotspotError> {
        for name in names {
            if let Some(Entry { type_text, place: Place::Offset(offset) }) = self.fields.get(*name)
                && *offset < MAX_OFFSET
            {
                return Ok(Field { offset: *offset, width: self.width(type_text) });
            }
        }
        Err(missing(names))
    }

    /// The address of the first of the static variables `names` that exists.
    pub(super) fn address(&self, names: &[&str]) -> Result<u64, HotspotError> {
        for name in names {
            if let Some(Entry { place: Place::Address(address), .. }) = self.fields.get(*name) {
                return Ok(*address);
            }
        }
        Err(missing(names))
    }

    /// The C++ type of the field or variable `name`.
    pub(super) fn type_text(&self, name: &str) -> Option<&str> {
        self.fields.get(name).map(|entry| entry.type_text.as_str())
    }

    /// The size in bytes of the type `name`.
    pub(super) fn size(&self, name: &str) -> Result<u64, HotspotError> {
        // Larger than any structure of a JVM: not believed.
        self.sizes.get(name).copied().filter(|size| *size < 4096).ok_or_else(|| missing(&[name]))
    }

    /// The value of the constant `name`.
    pub(super) fn constant(&self, name: &str) -> Option<i64> {
        self.constants.get(name).copied()
    }

    /// The width of a type: as the JVM's own table of types has it, or by its name where it is not
    /// in there. Structures, whose fields are reached by their own entries, count as eight.
    fn width(&self, type_text: &str) -> Width {
        let name = type_text.trim_start_matches("const ").trim_start_matches("volatile ");
        match self.sizes.get(name) {
            Some(1) => return Width::One,
            Some(2) => return Width::Two,
            Some(4) => return Width::Four,
            _ => {}
        }
        match name {
            "bool" | "u1" | "jbyte" | "char" | "signed char" | "unsigned char" | "uint8_t" | "int8_t" => {
                Width::One
            }
            // Enumerations that not every version's table of types has. Their values are small: where
            // they take more than one byte, the lowest is right.
            "CompLevel" | "CodeBlobKind" => Width::One,
            "u2" | "short" | "unsigned short" | "jushort" | "int16_t" | "uint16_t" => Width::Two,
            "u4"
            | "int"
            | "uint"
            | "unsigned int"
            | "unsigned"
            | "jint"
            | "juint"
            | "int32_t"
            | "uint32_t"
            | "pid_t"
            | "OSThread::thread_id_t"
            | "narrowOop"
            | "narrowKlass" => Width::Four,
            _ => Width::Eight,
        }
    }
}

fn missing(names: &[&str]) -> HotspotError {
    Unsupported { missing: names.join(" or ") }
}

/// The tables as they lie in memory.
struct Tables<'a> {
    symbols: &'a Symbols,
    reader: Reader<'a>,
}

impl Tables<'_> {
    /// The value of the exported variable `gHotSpotVM{name}`.
    fn exported(&self, name: &str) -> Result<u64, HotspotError> {
        let name = format!("gHotSpotVM{name}");
        let address = self.symbols.address(&name).ok_or(Unsupported { missing: name })?;
        self.reader.u64(address).map_err(|_| UNFILLED)
    }

    /// Place, in an entry, of the field that the exported variable `name` tells.
    fn entry_field(&self, name: &str, width: Width) -> Result<Field, HotspotError> {
        Ok(Field { offset: self.exported(name)?, width })
    }

    /// Calls `visit` with each entry of the table `name` until the one whose name is null.
    fn each(
        &self,
        name: &str,
        stride_name: &str,
        entry_name: Field,
        mut visit: impl FnMut(&Record) -> Result<(), ReadError>,
    ) -> Result<(), HotspotError> {
        let stride = self.exported(stride_name)?;
        if !(8..=MAX_STRIDE).contains(&stride) {
            return Err(UNFILLED);
        }
        let mut address = self.exported(name)?;
        for _ in 0..MAX_ENTRIES {
            let entry = self.reader.record(address, stride).map_err(|_| UNFILLED)?;
            if entry.field(entry_name) == Ok(0) {
                return Ok(());
            }
            visit(&entry).map_err(|_| UNFILLED)?;
            address += stride;
        }
        Err(UNFILLED)
    }

    /// The text that the pointer in `field` of `entry` leads to.
    fn text(&self, entry: &Record, field: Field) -> Result<String, ReadError> {
        self.reader.c_string(entry.field(field)?, MAX_NAME)
    }

    fn fields(&self, fields: &mut HashMap<String, Entry>) -> Result<(), HotspotError> {
        let type_name = self.entry_field("StructEntryTypeNameOffset", Width::Eight)?;
        let field_name = self.entry_field("StructEntryFieldNameOffset", Width::Eight)?;
        let type_string = self.entry_field("StructEntryTypeStringOffset", Width::Eight)?;
        let is_static = self.entry_field("StructEntryIsStaticOffset", Width::Four)?;
        let offset = self.entry_field("StructEntryOffsetOffset", Width::Eight)?;
        let address = self.entry_field("StructEntryAddressOffset", Width::Eight)?;
        self.each("Structs", "StructEntryArrayStride", type_name, |entry| {
            let name = format!("{}::{}", self.text(entry, type_name)?, self.text(entry, field_name)?);
            // Some fields have no type: their text is null.
            let type_text = self.text(entry, type_string).unwrap_or_default();
            let place = match entry.field(is_static)? {
                0 => Place::Offset(entry.field(offset)?),
                _ => Place::Address(entry.field(address)?),
            };
            fields.entry(name).or_insert(Entry { type_text, place });
            Ok(())
        })
    }

    fn sizes(&self, sizes: &mut HashMap<String, u64>) -> Result<(), HotspotError> {
        let name = self.entry_field("TypeEntryTypeNameOffset", Width::Eight)?;
        let size = self.entry_field("TypeEntrySizeOffset", Width::Eight)?;
        self.each("Types", "TypeEntryArrayStride", name, |entry| {
            sizes.entry(self.text(entry, name)?).or_insert(entry.field(size)?);
            Ok(())
        })
    }

    fn constants(
        &self,
        kind: &str,
        width: Width,
        constants: &mut HashMap<String, i64>,
    ) -> Result<(), HotspotError> {
        let name = self.entry_field(&format!("{kind}ConstantEntryNameOffset"), Width::Eight)?;
        let value = self.entry_field(&format!("{kind}ConstantEntryValueOffset"), width)?;
        let (table, stride) = (format!("{kind}Constants"), format!("{kind}ConstantEntryArrayStride"));
        self.each(&table, &stride, name, |entry| {
            constants.entry(self.text(entry, name)?).or_insert(entry.signed(value)?);
            Ok(())
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::process::memory::ImageMemory;

    /// A field table with the fields `entries` (type, field, C++ type, offset) and the other tables empty.
    fn image(entries: &[(&str, &str, &str, u64)]) -> (Symbols, ImageMemory) {
        const VARIABLES: u64 = 0x10000;
        const TABLE: u64 = 0x20000;
        const EMPTY: u64 = 0x30000;
        const TEXTS: u64 = 0x40000;
        let mut texts = Vec::new();
        let mut text = |text: &str| {
            let address = TEXTS + texts.len() as u64;
            texts.extend_from_slice(text.as_bytes());
            texts.push(0);
            address
        };
        let mut table = Vec::new();
        for (type_name, field, type_text, offset) in entries {
            for word in [text(type_name), text(field), text(type_text), 0, *offset, 0] {
                table.extend_from_slice(&word.to_le_bytes());
            }
        }
        table.extend_from_slice(&[0; 48]);
        let variables = [
            ("Structs", TABLE),
            ("StructEntryArrayStride", 48),
            ("StructEntryTypeNameOffset", 0),
            ("StructEntryFieldNameOffset", 8),
            ("StructEntryTypeStringOffset", 16),
            ("StructEntryIsStaticOffset", 24),
            ("StructEntryOffsetOffset", 32),
            ("StructEntryAddressOffset", 40),
            ("Types", EMPTY),
            ("TypeEntryArrayStride", 40),
            ("TypeEntryTypeNameOffset", 0),
            ("TypeEntrySizeOffset", 32),
            ("IntConstants", EMPTY),
            ("IntConstantEntryArrayStride", 16),
            ("IntConstantEntryNameOffset", 0),
            ("IntConstantEntryValueOffset", 8),
            ("LongConstants", EMPTY),
            ("LongConstantEntryArrayStride", 16),
            ("LongConstantEntryNameOffset", 0),
            ("LongConstantEntryValueOffset", 8),
        ];
        let addresses = (0..).map(|index| VARIABLES + 8 * index);
        let symbols = variables
            .iter()
            .zip(addresses)
            .map(|((name, _), at)| (format!("gHotSpotVM{name}"), at))
            .collect();
        let values = variables.iter().flat_map(|(_, value)| value.to_le_bytes()).collect();
        texts.resize(0x1000, 0);
        let ranges = vec![(VARIABLES, values), (TABLE, table), (EMPTY, vec![0; 64]), (TEXTS, texts)];
        (symbols, ImageMemory::new(ranges))
    }

    #[test]
    fn fields_with_their_aliases_and_widths() {
        let (symbols, memory) = image(&[
            ("nmethod", "_method", "Method*", 80),
            ("CodeBlob", "_frame_complete_offset", "int16_t", 54),
            ("nmethod", "_state", "volatile signed char", 219),
        ]);
        let structs = VmStructs::read(&symbols, &memory).expect("well formed");
        let field = |names: &[&str]| structs.field(names).map(|field| (field.offset, field.width.bytes()));
        assert_eq!(field(&["CompiledMethod::_method", "nmethod::_method"]).ok(), Some((80, 8)));
        assert_eq!(field(&["CodeBlob::_frame_complete_offset"]).ok(), Some((54, 2)));
        assert_eq!(field(&["nmethod::_state"]).ok(), Some((219, 1)));
        let error = field(&["nmethod::_compile_id"]).expect_err("not there");
        assert!(error.to_string().contains("nmethod::_compile_id"), "{error}");
        assert!(structs.address(&["nmethod::_method"]).is_err(), "it is not static");
    }

    #[test]
    fn a_missing_or_senseless_variable_is_named() {
        let (symbols, memory) = image(&[]);
        let without: Symbols = symbols
            .iter()
            .filter(|(name, _)| *name != "gHotSpotVMTypes")
            .map(|(name, address)| (name.to_owned(), address))
            .collect();
        let error = VmStructs::read(&without, &memory).expect_err("no types").to_string();
        assert!(error.contains("gHotSpotVMTypes"), "{error}");
        // A table without an end, and one whose stride is 0.
        let endless: Symbols = symbols.iter().map(|(name, _)| (name.to_owned(), 0x50000)).collect();
        let ones = ImageMemory::new(vec![(0x50000, vec![0; 4096])]);
        assert!(VmStructs::read(&endless, &ones).is_err());
    }
}
