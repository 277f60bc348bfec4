//! Offsets of members of the running kernel's structures, from its BTF (`/sys/kernel/btf/vmlinux`).
//!
//! Reads the flat format (kernel: `Documentation/bpf/btf.rst`, `include/uapi/linux/btf.h`) in one
//! pass over the types. Members of anonymous structs and unions count as members of what holds them.

use std::fs::File;
use std::io::{self, Read};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use thiserror::Error;
use tracer_common::config::KernelOffsets;

use crate::process::elf::{u16_at, u32_at, until_zero};

const VMLINUX: &str = "/sys/kernel/btf/vmlinux";
/// A distribution's kernel has 5 to 10 MB.
const MAX_BTF_BYTES: u64 = 64 << 20;
/// Anonymous structs in structs, and typedefs of typedefs.
const MAX_DEPTH: u32 = 16;
/// Members of a struct and of what is anonymous in it, which may be in itself several times: the kernel's largest has some
/// hundred.
const MAX_MEMBERS: u32 = 1 << 16;

const INT: u32 = 1;
const ARRAY: u32 = 3;
const STRUCT: u32 = 4;
const UNION: u32 = 5;
const ENUM: u32 = 6;
const TYPEDEF: u32 = 8;
const VOLATILE: u32 = 9;
const CONST: u32 = 10;
const FUNC: u32 = 12;
const FUNC_PROTO: u32 = 13;
const VAR: u32 = 14;
const DATASEC: u32 = 15;
const DECL_TAG: u32 = 17;
const TYPE_TAG: u32 = 18;
const ENUM64: u32 = 19;

/// Reason why an offset could not be had.
#[derive(Debug, Error)]
pub enum BtfError {
    #[error("{VMLINUX}: {0}")]
    Io(#[from] io::Error),
    #[error("the kernel's BTF is not well-formed")]
    Malformed,
    #[error("the kernel's BTF has no {0}")]
    Missing(String),
}

/// The running kernel's offsets that the programs need. Those of return probes are 0 where one of them is not known.
///
/// # Errors
/// It has no BTF, or lacks a member without which threads are not seen.
pub fn kernel_offsets() -> Result<KernelOffsets, BtfError> {
    let btf = Btf::of_kernel()?;
    let task_pid = btf.offset("task_struct", &["pid"])?;
    let known = return_probe_offsets(&btf).unwrap_or_else(|error| {
        tracing::warn!("stacks below another tool's return probes will end there: {error}");
        KernelOffsets::ZERO
    });
    let task_thread_pointer = btf.offset("task_struct", &["thread", "fsbase"]).unwrap_or(0);
    Ok(KernelOffsets { task_pid, task_thread_pointer, ..known })
}

fn return_probe_offsets(btf: &Btf) -> Result<KernelOffsets, BtfError> {
    Ok(KernelOffsets {
        task_utask: btf.offset("task_struct", &["utask"])?,
        task_mm: btf.offset("task_struct", &["mm"])?,
        mm_xol_area: btf.offset("mm_struct", &["uprobes_state", "xol_area"])?,
        xol_area_vaddr: btf.offset("xol_area", &["vaddr"])?,
        utask_return_instances: btf.offset("uprobe_task", &["return_instances"])?,
        return_instance_stack: btf.offset("return_instance", &["stack"])?,
        return_instance_orig_ret_vaddr: btf.offset("return_instance", &["orig_ret_vaddr"])?,
        return_instance_next: btf.offset("return_instance", &["next"])?,
        ..KernelOffsets::ZERO
    })
}

/// BTF data with an index of its types.
#[derive(Debug)]
pub struct Btf {
    bytes: Vec<u8>,
    /// The offset in `bytes` of each type; id 1 is the first.
    types: Vec<u32>,
    strings: std::ops::Range<usize>,
}

impl Btf {
    /// The running kernel's: some megabytes, which are read once for all who have them at the same time.
    ///
    /// # Errors
    /// The kernel was built without it, or it is not well-formed.
    pub fn of_kernel() -> Result<Arc<Self>, BtfError> {
        static SHARED: Mutex<Weak<Btf>> = Mutex::new(Weak::new());
        let mut shared = SHARED.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(btf) = shared.upgrade() {
            return Ok(btf);
        }
        let mut bytes = Vec::new();
        File::open(VMLINUX)?.take(MAX_BTF_BYTES).read_to_end(&mut bytes)?;
        let btf = Arc::new(Self::parse(bytes)?);
        *shared = Arc::downgrade(&btf);
        Ok(btf)
    }

    /// Takes the flat format.
    ///
    /// # Errors
    /// It is not well-formed.
    pub fn parse(bytes: Vec<u8>) -> Result<Self, BtfError> {
        if bytes.len() < 24 || u16_at(&bytes, 0) != 0xeb9f {
            return Err(BtfError::Malformed);
        }
        let part = |offset: usize| {
            let start = u64::from(u32_at(&bytes, 4)) + u64::from(u32_at(&bytes, offset));
            let end = start + u64::from(u32_at(&bytes, offset + 4));
            let range = usize::try_from(start).ok()?..usize::try_from(end).ok()?;
            (range.end <= bytes.len()).then_some(range)
        };
        let section = part(8).ok_or(BtfError::Malformed)?;
        let strings = part(16).ok_or(BtfError::Malformed)?;
        let mut types = Vec::with_capacity(section.len() / 32);
        let mut offset = section.start;
        while offset < section.end {
            let header = bytes.get(offset..offset + 12).ok_or(BtfError::Malformed)?;
            types.push(u32::try_from(offset).map_err(|_| BtfError::Malformed)?);
            let info = u32_at(header, 4);
            let count = (info & 0xffff) as usize;
            offset += 12
                + match kind(info) {
                    INT | VAR | DECL_TAG => 4,
                    ARRAY => 12,
                    STRUCT | UNION | DATASEC | ENUM64 => 12 * count,
                    ENUM | FUNC_PROTO => 8 * count,
                    kind if kind <= ENUM64 => 0,
                    _ => return Err(BtfError::Malformed),
                };
        }
        Ok(Self { bytes, types, strings })
    }

    /// Names of `names` that nothing in it is called: no type, member, function or value of an enumeration.
    pub fn lacking(&self, names: &[&'static str]) -> Vec<&'static str> {
        let mut lacking = names.to_vec();
        let strings = self.bytes.get(self.strings.clone()).unwrap_or_default();
        for string in strings.split(|byte| *byte == 0) {
            lacking.retain(|name| name.as_bytes() != string);
            if lacking.is_empty() {
                break;
            }
        }
        lacking
    }

    /// The id of the kernel's function `name`.
    pub fn function(&self, name: &str) -> Option<u32> {
        let ids = 1..=u32::try_from(self.types.len()).ok()?;
        let is_it = |id| {
            self.kind_of(id)
                .is_some_and(|found| found.kind == FUNC && self.string(found.name) == name.as_bytes())
        };
        ids.into_iter().find(|id| is_it(*id))
    }

    /// The offset of a member of struct `name`, going into the structs that `path` names.
    ///
    /// # Errors
    /// There is no such struct or member, or it does not begin at a byte.
    pub fn offset(&self, name: &str, path: &[&str]) -> Result<u32, BtfError> {
        let missing = || BtfError::Missing(format!("{name}.{}", path.join(".")));
        // A struct can be described twice, once only as declared.
        let mut named =
            (1..=self.types.len()).filter_map(|id| self.kind_of(u32::try_from(id).ok()?)).filter(|found| {
                found.kind == STRUCT && found.count > 0 && self.string(found.name) == name.as_bytes()
            });
        let bits = named.find_map(|found| self.path_bits(&found, path)).ok_or_else(missing)?;
        if bits % 8 == 0 { Ok(bits / 8) } else { Err(missing()) }
    }

    fn path_bits(&self, of: &Type, path: &[&str]) -> Option<u32> {
        let (first, rest) = path.split_first()?;
        let mut left = MAX_MEMBERS;
        let (bits, id) = self.member(of, first.as_bytes(), 0, &mut left)?;
        if rest.is_empty() {
            return Some(bits);
        }
        bits.checked_add(self.path_bits(&self.composite(id)?, rest)?)
    }

    /// The bit offset and type of a member, searched in anonymous members too; `left` members are looked at, at most.
    fn member(&self, of: &Type, name: &[u8], depth: u32, left: &mut u32) -> Option<(u32, u32)> {
        if depth > MAX_DEPTH {
            return None;
        }
        let members = self.bytes.get(of.start..of.start.checked_add(12 * of.count)?)?;
        members.chunks_exact(12).find_map(|member| {
            *left = left.checked_sub(1)?;
            // With the kind flag the offset shares its word with a bit field's size.
            let offset = if of.flag { u32_at(member, 8) & 0xff_ffff } else { u32_at(member, 8) };
            let own = self.string(u32_at(member, 0));
            if own == name {
                return Some((offset, u32_at(member, 4)));
            }
            if !own.is_empty() {
                return None;
            }
            let (inner, id) = self.member(&self.composite(u32_at(member, 4))?, name, depth + 1, left)?;
            Some((offset.checked_add(inner)?, id))
        })
    }

    /// The struct or union behind a type, through typedefs and qualifiers.
    fn composite(&self, mut id: u32) -> Option<Type> {
        for _ in 0..MAX_DEPTH {
            let found = self.kind_of(id)?;
            match found.kind {
                STRUCT | UNION => return Some(found),
                TYPEDEF | VOLATILE | CONST | TYPE_TAG => id = found.refers_to,
                _ => return None,
            }
        }
        None
    }

    fn kind_of(&self, id: u32) -> Option<Type> {
        let offset = usize::try_from(*self.types.get(usize::try_from(id).ok()?.checked_sub(1)?)?).ok()?;
        let header = self.bytes.get(offset..offset.checked_add(12)?)?;
        let info = u32_at(header, 4);
        Some(Type {
            kind: kind(info),
            flag: info >> 31 != 0,
            count: (info & 0xffff) as usize,
            name: u32_at(header, 0),
            refers_to: u32_at(header, 8),
            start: offset + 12,
        })
    }

    fn string(&self, offset: u32) -> &[u8] {
        let strings = self.bytes.get(self.strings.clone()).unwrap_or_default();
        usize::try_from(offset)
            .ok()
            .and_then(|offset| strings.get(offset..))
            .map(until_zero)
            .unwrap_or_default()
    }
}

struct Type {
    kind: u32,
    flag: bool,
    /// Members of a struct or union.
    count: usize,
    name: u32,
    /// A size, or the type that is referred to.
    refers_to: u32,
    /// Offset of what follows the header.
    start: usize,
}

fn kind(info: u32) -> u32 {
    info >> 24 & 0x1f
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A BTF of struct s { int a; struct { const t *pad; union { char b; } ; }; T c; } with T a
    /// typedef of struct t { int d; }.
    fn sample() -> Vec<u8> {
        let strings = b"\0int\0s\0a\0b\0c\0t\0d\0T\0";
        let at = |name: &str| {
            let find = [b"\0", name.as_bytes(), b"\0"].concat();
            strings.windows(find.len()).position(|window| window == find).unwrap() as u32 + 1
        };
        let mut types: Vec<u32> = Vec::new();
        let info = |kind: u32, count: u32| kind << 24 | count;
        types.extend([at("int"), info(INT, 0), 4, 32]); // 1
        types.extend([at("t"), info(STRUCT, 1), 4, at("d"), 1, 64]); // 2
        types.extend([at("T"), info(TYPEDEF, 0), 2]); // 3
        types.extend([0, info(UNION, 1), 1, at("b"), 1, 0]); // 4
        types.extend([0, info(STRUCT, 1), 1, 0, 4, 128]); // 5
        types.extend([at("s"), info(STRUCT, 3), 99, at("a"), 1, 0, 0, 5, 64, at("c"), 3, 1024]); // 6
        let types: Vec<u8> = types.iter().flat_map(|word| word.to_le_bytes()).collect();
        let words = [24, 0, types.len() as u32, types.len() as u32, strings.len() as u32];
        let mut bytes = vec![0x9f, 0xeb, 1, 0];
        bytes.extend(words.iter().flat_map(|word| word.to_le_bytes()));
        bytes.extend(types);
        bytes.extend(strings);
        bytes
    }

    #[test]
    fn members_of_members() {
        let btf = Btf::parse(sample()).unwrap();
        assert_eq!(btf.offset("s", &["a"]).unwrap(), 0);
        assert_eq!(btf.offset("s", &["b"]).unwrap(), 8 + 16);
        assert_eq!(btf.offset("s", &["c", "d"]).unwrap(), 128 + 8);
        assert!(matches!(btf.offset("s", &["d"]), Err(BtfError::Missing(what)) if what == "s.d"));
        assert!(btf.offset("T", &["d"]).is_err());
    }

    #[test]
    fn damage_is_an_error_not_a_panic() {
        let whole = sample();
        for end in 0..whole.len() {
            assert!(Btf::parse(whole[..end].to_vec()).is_err(), "{end}");
        }
        for position in 0..whole.len() {
            for value in [0, 0x7f, 0xff] {
                let mut damaged = whole.clone();
                damaged[position] = value;
                if let Ok(btf) = Btf::parse(damaged) {
                    let _ = btf.offset("s", &["c", "d"]);
                    let _ = btf.offset("s", &["b"]);
                }
            }
        }
    }

    #[test]
    fn an_anonymous_struct_in_itself_ends() {
        let mut bytes = sample();
        // Type 5's member becomes type 5.
        let start =
            bytes.windows(12).position(|window| window == [0, 0, 0, 0, 4, 0, 0, 0, 128, 0, 0, 0]).unwrap();
        bytes[start + 4] = 5;
        assert!(Btf::parse(bytes).unwrap().offset("s", &["b"]).is_err());
    }

    #[test]
    fn anonymous_structs_in_each_other_many_times_end() {
        // One struct with many members, each of which is that struct.
        let count = 60_000_u32;
        let mut types = vec![1, STRUCT << 24 | count, 4];
        types.extend([0, 1, 0].repeat(count as usize));
        let types: Vec<u8> = types.iter().flat_map(|word: &u32| word.to_le_bytes()).collect();
        let mut bytes = vec![0x9f, 0xeb, 1, 0];
        let words = [24, 0, types.len() as u32, types.len() as u32, 3];
        bytes.extend(words.iter().flat_map(|word| word.to_le_bytes()));
        bytes.extend(types);
        bytes.extend(b"\0s\0");
        let btf = Btf::parse(bytes).unwrap();
        let begin = std::time::Instant::now();
        assert!(btf.offset("s", &["a"]).is_err());
        assert!(begin.elapsed().as_secs() < 10, "members of members of members");
    }

    #[test]
    fn it_is_read_once_for_all_who_have_it() {
        let Ok(first) = Btf::of_kernel() else { return println!("skipped: no BTF") };
        assert!(Btf::of_kernel().is_ok_and(|second| Arc::ptr_eq(&first, &second)));
    }

    /// Compares with `bpftool`, where it is installed, and prints the time taken.
    #[test]
    fn this_kernel() {
        let begin = std::time::Instant::now();
        let offsets = match kernel_offsets() {
            Ok(offsets) => offsets,
            Err(error) => return println!("skipped: {error}"),
        };
        println!("{offsets:?} in {:?}", begin.elapsed());
        assert!(offsets.return_instance_next > 0 && offsets.task_utask > 0 && offsets.mm_xol_area > 0);
        let dump = std::process::Command::new("bpftool").args(["btf", "dump", "file", VMLINUX]).output();
        let Ok(dump) = dump else { return println!("skipped: no bpftool") };
        let text = String::from_utf8_lossy(&dump.stdout);
        let member = |of: &str, name: &str| {
            let mut lines = text.lines().skip_while(|line| !line.contains(&format!("STRUCT '{of}' ")));
            lines.next()?;
            let line = lines
                .take_while(|line| line.starts_with('\t'))
                .find(|line| line.contains(&format!("'{name}' ")))?;
            line.rsplit_once("bits_offset=")?.1.trim().parse::<u32>().ok().map(|bits| bits / 8)
        };
        assert_eq!(member("task_struct", "utask"), Some(offsets.task_utask));
        assert_eq!(member("task_struct", "mm"), Some(offsets.task_mm));
        assert_eq!(member("xol_area", "vaddr"), Some(offsets.xol_area_vaddr));
        assert_eq!(member("return_instance", "orig_ret_vaddr"), Some(offsets.return_instance_orig_ret_vaddr));
        assert_eq!(member("return_instance", "next"), Some(offsets.return_instance_next));
    }
}
