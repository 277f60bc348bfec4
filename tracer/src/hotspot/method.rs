//! `Method*` → class, name, signature, source file and lines.
//!
//! Takes addresses that a frame or an nmethod names; gives [`Method`], or why memory at the address
//! is no method. A method is copied whole, so that it still has its lines when its class is gone.
//! Source: HotSpot, `oops/{method,constMethod,constantPool,symbol}.hpp`.

use std::sync::Arc;

use super::class_name::{from_modified_utf8, readable};
use super::layout::{MethodLayout, SourceFile, SymbolLength};
use super::read::{ReadError, Reader, pointer};
use super::unsigned5::Numbers;

/// Bit of a method's access flags, `JVM_ACC_NATIVE`.
const NATIVE: u64 = 0x100;
/// Native and `JVM_ACC_SYNTHETIC`: a method handle intrinsic, made by the JVM itself. The constant pool
/// that is made with it leaves the source file's index uninitialized in some versions.
const INTRINSIC: u64 = NATIVE | 0x1000;
/// Entries of a line table: more lines than a method of 64 KiB of bytecodes can have are not one.
const MAX_LINES: usize = 1 << 16;
/// Bytecodes of a method, as class files limit them.
const MAX_CODE_BYTES: u64 = 1 << 16;
/// Entries of a constant pool, as class files limit them.
const MAX_POOL: u64 = 1 << 16;
/// Bytes of a `ConstMethod`.
const MAX_CONST_METHOD_BYTES: u64 = 1 << 20;
/// Introduces a line entry that does not fit a byte.
const WIDE_LINE: u8 = 0xff;

/// A Java method, as copied from the JVM.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Method {
    /// Name with dots and without what differs from run to run.
    pub(super) class: Arc<str>,
    pub(super) name: Arc<str>,
    pub(super) signature: Arc<str>,
    pub(super) file: Option<Arc<str>>,
    pub(super) native: bool,
    /// The code that a native method calls, which is the JVM's own until the method is linked. `None` if it cannot
    /// be read.
    pub(super) native_function: Option<u64>,
    /// (bytecode index, line), in the order of the class file.
    lines: Box<[(u32, u32)]>,
    identity: Identity,
}

/// Facts that tell this method from another that was put in its place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Identity {
    pub(super) const_method: u64,
    constants: u64,
    holder: u64,
    name_index: u64,
    signature_index: u64,
    code_bytes: u64,
    /// End of the bytecodes, where the table of lines would begin.
    code_end: u64,
    has_lines: bool,
    /// Name of the class as the JVM has it.
    class_symbol: String,
}

impl Identity {
    /// The cookie that a frame carries: [`tracer_common::unwind::frame_kind::INTERPRETED`].
    pub(super) fn cookie(&self) -> u32 {
        (self.const_method >> 3) as u32
    }
}

impl Method {
    /// Reads the method at `address`, of which `identity` was just read.
    ///
    /// # Errors
    /// Memory there is no method, or not any more.
    pub(super) fn read(
        reader: Reader<'_>,
        layout: &MethodLayout,
        address: u64,
        identity: Identity,
    ) -> Result<Self, ReadError> {
        let pool = Pool::read(reader, layout, identity.constants)?;
        let access_flags = reader.field(address, layout.access_flags)?;
        let file_index = match layout.source_file {
            SourceFile::InPool(field) => reader.field(identity.constants, field)?,
            SourceFile::InClass(field) => reader.field(identity.holder, field)?,
        };
        let method = Self {
            class: readable(&identity.class_symbol).into(),
            name: pool.text(identity.name_index)?.into(),
            signature: pool.text(identity.signature_index)?.into(),
            file: match file_index {
                _ if access_flags & INTRINSIC == INTRINSIC => None,
                0 => None,
                index => Some(pool.text(index)?.into()),
            },
            native: access_flags & NATIVE != 0,
            native_function: match access_flags & INTRINSIC {
                // A method has its name without it.
                NATIVE => reader.u64(address + layout.method_bytes).ok(),
                _ => None,
            },
            lines: lines(reader, layout, &identity)?,
            identity,
        };
        // Still the same after all was read?
        match reader.field(address, layout.const_method)? == method.identity.const_method {
            true => Ok(method),
            false => Err(ReadError::BadPointer(address)),
        }
    }

    pub(super) fn identity(&self) -> &Identity {
        &self.identity
    }

    /// Does the method at `address`, which is this one, still call the same function? A native method is linked when
    /// it is called first, and may be registered anew.
    pub(super) fn calls_the_same(&self, reader: Reader<'_>, layout: &MethodLayout, address: u64) -> bool {
        self.native_function.is_none_or(|function| reader.u64(address + layout.method_bytes) == Ok(function))
    }

    /// The source line of the bytecode at `bci`.
    pub(super) fn line(&self, bci: u32) -> Option<u32> {
        let before = self.lines.iter().filter(|(start, _)| *start <= bci);
        before.max_by_key(|(start, _)| *start).map(|(_, line)| *line)
    }

    /// The index of the bytecode at address `bcp`; 0 if it is outside the method (native methods
    /// have none).
    pub(super) fn bci(&self, bcp: u64) -> u32 {
        let start = self.identity.code_end - self.identity.code_bytes;
        let inside = (start..self.identity.code_end).contains(&bcp);
        if inside { (bcp - start) as u32 } else { 0 }
    }
}

/// Identity of the method at `address`: enough to tell whether it is still the same.
///
/// # Errors
/// Memory there is no method, or not any more.
pub(super) fn identity(
    reader: Reader<'_>,
    layout: &MethodLayout,
    address: u64,
) -> Result<Identity, ReadError> {
    let const_method = reader.pointer_field(address, layout.const_method)?;
    let record = reader.record(const_method, layout.const_method_bytes)?;
    let constants = record.pointer(layout.constants)?;
    let holder = reader.pointer_field(constants, layout.pool_holder)?;
    let code_bytes = record.field(layout.code_bytes)?;
    if code_bytes > MAX_CODE_BYTES {
        return Err(ReadError::OutOfBounds(code_bytes));
    }
    let class_symbol = symbol(reader, layout, reader.field(holder, layout.klass_name)?)?;
    Ok(Identity {
        const_method,
        constants,
        holder,
        name_index: record.field(layout.name_index)?,
        signature_index: record.field(layout.signature_index)?,
        code_bytes,
        code_end: const_method + layout.const_method_bytes + code_bytes,
        has_lines: record.field(layout.flags)? & layout.has_lines != 0,
        class_symbol,
    })
}

/// The text of the `Symbol` at `address`.
pub(super) fn symbol(reader: Reader<'_>, layout: &MethodLayout, address: u64) -> Result<String, ReadError> {
    let address = pointer(address)?;
    let length = symbol_length(reader, layout, address)?;
    let body = reader.bytes(address + layout.symbol_body.offset, length, usize::from(u16::MAX))?;
    from_modified_utf8(&body).filter(|text| !text.is_empty()).ok_or(ReadError::BadText(address))
}

fn symbol_length(reader: Reader<'_>, layout: &MethodLayout, address: u64) -> Result<u64, ReadError> {
    Ok(match layout.symbol_length {
        SymbolLength::Plain(field) => reader.field(address, field)?,
        SymbolLength::HighHalf(field) => reader.field(address, field)? >> 16,
    })
}

/// Bytes that the `Symbol` at `address` takes: whole words.
pub(super) fn symbol_bytes(
    reader: Reader<'_>,
    layout: &MethodLayout,
    address: u64,
) -> Result<u64, ReadError> {
    let length = symbol_length(reader, layout, address)?;
    Ok((layout.symbol_body.offset + length).max(layout.symbol_bytes).next_multiple_of(8))
}

/// A constant pool, of which symbols are read.
pub(super) struct Pool<'a> {
    reader: Reader<'a>,
    layout: &'a MethodLayout,
    entries: u64,
    length: u64,
}

impl<'a> Pool<'a> {
    pub(super) fn read(
        reader: Reader<'a>,
        layout: &'a MethodLayout,
        address: u64,
    ) -> Result<Self, ReadError> {
        let length = reader.field(pointer(address)?, layout.pool_length)?;
        Ok(Self { reader, layout, entries: address + layout.pool_bytes, length })
    }

    /// The symbol in entry `index`.
    pub(super) fn text(&self, index: u64) -> Result<String, ReadError> {
        if index == 0 || index >= self.length.min(MAX_POOL) {
            return Err(ReadError::OutOfBounds(index));
        }
        // The lowest bit tells kinds of entries apart.
        let entry = self.reader.u64(self.entries + 8 * index)? & !1;
        symbol(self.reader, self.layout, entry)
    }
}

/// Reads the table of lines, which lies behind the bytecodes.
fn lines(
    reader: Reader<'_>,
    layout: &MethodLayout,
    identity: &Identity,
) -> Result<Box<[(u32, u32)]>, ReadError> {
    if !identity.has_lines {
        return Ok(Box::default());
    }
    let words = reader.field(identity.const_method, layout.const_method_words)?;
    let end = identity.const_method + words.saturating_mul(8).min(MAX_CONST_METHOD_BYTES);
    let length = end.checked_sub(identity.code_end).ok_or(ReadError::OutOfBounds(words))?;
    let bytes = reader.bytes(identity.code_end, length, MAX_CONST_METHOD_BYTES as usize)?;
    Ok(decode_lines(&bytes, layout.excluded_low_bytes))
}

fn decode_lines(bytes: &[u8], excluded_low_bytes: u8) -> Box<[(u32, u32)]> {
    let mut numbers = Numbers::new(bytes, excluded_low_bytes);
    let (mut bci, mut line) = (0_u32, 0_u32);
    let mut lines = Vec::new();
    while lines.len() < MAX_LINES {
        match numbers.byte() {
            None | Some(0) => break,
            Some(WIDE_LINE) => {
                let (Some(bci_step), Some(line_step)) = (numbers.signed(), numbers.signed()) else { break };
                bci = bci.wrapping_add_signed(bci_step);
                line = line.wrapping_add_signed(line_step);
            }
            Some(byte) => {
                bci = bci.wrapping_add(u32::from(byte >> 3));
                line = line.wrapping_add(u32::from(byte & 7));
            }
        }
        lines.push((bci, line));
    }
    lines.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn method(lines: &[(u32, u32)]) -> Method {
        let identity = Identity {
            const_method: 0x10000,
            constants: 0,
            holder: 0,
            name_index: 0,
            signature_index: 0,
            code_bytes: 20,
            code_end: 0x10000 + 56 + 20,
            has_lines: true,
            class_symbol: String::new(),
        };
        let text: Arc<str> = "".into();
        Method {
            class: text.clone(),
            name: text.clone(),
            signature: text,
            file: None,
            native: false,
            native_function: None,
            lines: lines.into(),
            identity,
        }
    }

    #[test]
    fn lines_in_bytes_and_in_numbers() {
        // (+1, +2), (+3, +7), then a pair of numbers (+100, −5), the end, and what is not read.
        let bytes = [1 << 3 | 2, 3 << 3 | 7, 0xff, 192 + 8, 0, 9, 0, 77];
        assert_eq!(decode_lines(&bytes, 0).as_ref(), [(1, 2), (4, 9), (104, 4)]);
        // Cut off in the middle of a pair.
        assert_eq!(decode_lines(&bytes[..4], 0).as_ref(), [(1, 2), (4, 9)]);
    }

    #[test]
    fn a_line_table_need_not_be_sorted() {
        let method = method(&[(0, 10), (8, 30), (4, 20)]);
        let lines: Vec<_> = [0, 3, 4, 7, 8, 19].map(|bci| method.line(bci)).into();
        assert_eq!(lines, [Some(10), Some(10), Some(20), Some(20), Some(30), Some(30)]);
    }

    #[test]
    fn bytecode_pointers_outside_are_index_0() {
        let method = method(&[(2, 10)]);
        let start = 0x10000 + 56;
        assert_eq!([start - 1, start, start + 19, start + 20].map(|bcp| method.bci(bcp)), [0, 0, 19, 0]);
        assert_eq!(method.line(0), None, "before the first entry");
    }
}
