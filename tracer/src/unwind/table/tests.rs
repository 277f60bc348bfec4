//! Tables against gimli's own search in real libraries, and of files that are broken on purpose.

use gimli::{CfaRule, EhFrameHdr, RegisterRule, X86_64};
use object::{Object, ObjectSection, ObjectSymbol};
use proptest::prelude::*;

use super::*;

const LIBC: &str = "/lib/x86_64-linux-gnu/libc.so.6";
const LOADER: &str = "/lib64/ld-linux-x86-64.so.2";

/// Libraries of this machine, those that there are.
fn libraries() -> Vec<(String, Vec<u8>)> {
    let mut paths: Vec<String> = [
        LIBC,
        LOADER,
        "/lib/x86_64-linux-gnu/libz.so.1",
        "/lib/x86_64-linux-gnu/libm.so.6",
        "/usr/lib/x86_64-linux-gnu/libstdc++.so.6",
    ]
    .map(str::to_owned)
    .to_vec();
    let jdks = std::fs::read_dir("/usr/lib/jvm").into_iter().flatten().flatten();
    paths.extend(jdks.map(|jdk| jdk.path().join("lib/server/libjvm.so").to_string_lossy().into_owned()));
    let read = |path: String| std::fs::read(&path).ok().map(|bytes| (path, bytes));
    let found: Vec<_> = paths.into_iter().filter_map(read).collect();
    assert!(!found.is_empty(), "this test needs a libc to read");
    found
}

/// Rules of gimli at one address, worked out apart from the code under test: the CFA from
/// rsp = 0x10000 and rbp = 0x20000 at `pc`, and rbp's place from the CFA.
fn expected(cfa: &CfaRule<usize>, rbp: Option<RegisterRule<usize>>) -> Option<(i64, i64)> {
    let cfa = match cfa {
        CfaRule::RegisterAndOffset { register: X86_64::RSP, offset } => 0x10000 + offset,
        CfaRule::RegisterAndOffset { register: X86_64::RBP, offset } => 0x20000 + offset,
        _ => return None,
    };
    match rbp {
        None | Some(RegisterRule::SameValue | RegisterRule::Undefined) => Some((cfa, 0)),
        Some(RegisterRule::Offset(offset)) => Some((cfa, offset)),
        Some(_) => None,
    }
}

#[test]
fn rows_say_what_gimli_says() {
    for (path, bytes) in libraries() {
        let table = compile(&*bytes).unwrap();
        assert!(table.rows.is_sorted_by(|a, b| a.pc < b.pc), "{path}");
        assert_eq!(table.omitted, Omitted::default(), "{path}");

        let file = object::File::parse(&*bytes).unwrap();
        let get = |name| file.section_by_name(name).unwrap();
        let (frames, header) = (get(".eh_frame"), get(".eh_frame_hdr"));
        let bases = BaseAddresses::default()
            .set_eh_frame(frames.address())
            .set_eh_frame_hdr(header.address())
            .set_text(get(".text").address());
        let section = EhFrame::new(frames.data().unwrap(), LittleEndian);
        let header = EhFrameHdr::new(header.data().unwrap(), LittleEndian).parse(&bases, 8).unwrap();
        let index = header.table().unwrap();
        let mut context = UnwindContext::<usize, Storage>::new_in();

        let (mut seen, mut roots, mut strange) = (0, 0, 0);
        let text = get(".text");
        let step = (text.size() / 5000).max(1) as usize;
        for address in (text.address()..text.address() + text.size()).step_by(step) {
            let found = index.unwind_info_for_address(
                &section,
                &bases,
                &mut context,
                address,
                EhFrame::cie_from_offset,
            );
            let Ok(gimli) = found else { continue };
            seen += 1;
            let row = table.row((address - table.first_vaddr) as u32).unwrap();
            if gimli.register(X86_64::RA) == Some(RegisterRule::Undefined) {
                assert_eq!(row.rule, rule::ROOT, "{path} {address:#x}");
                roots += 1;
                continue;
            }
            let offset = i64::from(row.cfa_words) * 8;
            let rbp = i64::from(row.fp_words) * 8;
            let got = match row.rule {
                rule::SP => Some((0x10000 + offset, rbp)),
                rule::FP => Some((0x20000 + offset, rbp)),
                rule::UNSUPPORTED | rule::FP_INDIRECT | rule::SIGNAL => None,
                other => panic!("{path} {address:#x}: rule {other}"),
            };
            strange += usize::from(got.is_none());
            assert_eq!(got, expected(gimli.cfa(), gimli.register(X86_64::RBP)), "{path} {address:#x}");
        }
        assert!(seen > 200 && roots < 10 && strange <= seen / 40, "{path}: {seen} {strange}");
    }
}

/// The row at a symbol of the C library.
fn row_at(bytes: &[u8], name: &str) -> Row {
    let table = compile(bytes).unwrap();
    let file = object::File::parse(bytes).unwrap();
    let symbol = file.dynamic_symbols().chain(file.symbols()).find(|s| s.name() == Ok(name)).unwrap();
    table.row((symbol.address() - table.first_vaddr) as u32 + 1).unwrap()
}

#[test]
fn thread_entries_plt_and_signal_trampolines_are_known() {
    let libc = std::fs::read(LIBC).unwrap();
    let loader = std::fs::read(LOADER).unwrap();
    // `malloc` begins with an ordinary frame.
    assert_eq!((row_at(&libc, "malloc").rule, row_at(&libc, "malloc").cfa_words), (rule::SP, 1));
    let libc_rules: Vec<u8> = compile(&*libc).unwrap().rows.iter().map(|row| row.rule).collect();
    assert!(libc_rules.contains(&rule::ROOT), "clone");
    assert!(libc_rules.contains(&rule::SIGNAL), "__restore_rt");
    assert!(libc_rules.contains(&rule::PLT));
    let table = compile(&*loader).unwrap();
    let file = object::File::parse(&*loader).unwrap();
    let entry = table.row((file.entry() - table.first_vaddr) as u32);
    assert_eq!(entry.map(|row| row.rule), Some(rule::ROOT), "the loader's _start");
}

#[test]
fn without_section_headers_the_program_header_leads_to_the_frames() {
    let bytes = std::fs::read(LIBC).unwrap();
    let whole = compile(&*bytes).unwrap();
    let mut stripped = bytes;
    // e_shoff, e_shnum and e_shstrndx.
    stripped[40..48].fill(0);
    stripped[60..64].fill(0);
    let table = compile(&*stripped).unwrap();
    assert_eq!((table.rows.len(), table.first_vaddr), (whole.rows.len(), whole.first_vaddr));
}

#[test]
fn a_bias_per_mapping() {
    let segment = Segment { vaddr: 0x5f00, file_offset: 0x2f00, file_size_bytes: 0x3000 };
    let table =
        Table { rows: Vec::new(), first_vaddr: 0x5f00, segments: vec![segment], omitted: Omitted::default() };
    // The mapping begins at the segment's page; the segment's first byte looks up as 0.
    let bias = table.bias(0x7f00_0000_0000, 0x2000).unwrap();
    assert_eq!(0x7f00_0000_0f00 - bias, 0);
    // A second mapping of the same segment, as mprotect leaves it.
    assert_eq!(table.bias(0x7f00_0000_1000, 0x3000), Some(bias));
    assert_eq!(table.bias(0x7f00_0000_0000, 0x9000), None);
}

#[test]
fn what_is_no_elf_file_is_refused() {
    assert!(matches!(compile(&b"#!/bin/sh\n"[..]), Err(TableError::Elf(_))));
    assert!(matches!(compile(&[][..]), Err(TableError::Elf(_))));
    let mut other = std::fs::read(LOADER).unwrap();
    other[18] = 183; // e_machine: aarch64
    assert!(matches!(compile(&*other), Err(TableError::Machine)));
}

#[test]
fn overlapping_and_unsorted_entries_keep_the_rows_sorted() {
    let mut compiler = Compiler::new(0, &[Segment { vaddr: 0, file_offset: 0, file_size_bytes: 0x1000 }]);
    for (start, end, words) in [(0x100, 0x180, 1), (0x40, 0x120, 2), (0x50, 0x60, 3), (0x300, 0x310, 1)] {
        let first_row = compiler.rows.len();
        compiler.rows.push(Row { pc: start, cfa_words: words, rule: rule::SP, fp_words: 0 });
        compiler.spans.push(Span { start, end, first_row, row_count: 1 });
    }
    let (rows, omitted) = compiler.finish();
    let rows: Vec<_> = rows.iter().map(|row| (row.pc, row.rule, row.cfa_words)).collect();
    let expected = [
        (0x40, rule::SP, 2),
        (0x120, rule::SP, 1),
        (0x180, rule::GAP, 0),
        (0x300, rule::SP, 1),
        (0x310, rule::GAP, 0),
    ];
    assert_eq!(rows, expected);
    assert_eq!(omitted.misplaced_entries, 2);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 150, ..ProptestConfig::default() })]

    #[test]
    fn a_broken_file_never_panics(
        cut in any::<proptest::sample::Index>(),
        changes in prop::collection::vec((any::<proptest::sample::Index>(), any::<u8>()), 0..40),
        in_frames in any::<bool>(),
        truncate in any::<bool>(),
    ) {
        let mut bytes = std::fs::read("/lib/x86_64-linux-gnu/libz.so.1")
            .or_else(|_| std::fs::read(LOADER)).unwrap();
        // Changes all over the file, or in the frames alone.
        let range = if in_frames {
            let file = object::File::parse(&*bytes).unwrap();
            let (start, length) = file.section_by_name(".eh_frame").unwrap().file_range().unwrap();
            start as usize..(start + length) as usize
        } else {
            0..bytes.len()
        };
        for (index, value) in changes {
            let at = range.start + index.index(range.len());
            bytes[at] = value;
        }
        if truncate {
            bytes.truncate(cut.index(bytes.len()));
        }
        if let Ok(table) = compile(&*bytes) {
            prop_assert!(table.rows.is_sorted_by(|a, b| a.pc < b.pc));
        }
    }
}
