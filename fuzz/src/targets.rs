//! Parsers of foreign bytes and numbers, from the bytes to every output that shows them. A target fails by a panic, by
//! arithmetic that wraps, or by what it asserts; `tracer/tests/fuzz_seeds.rs` runs the seeds through them.
//!
//! Large things (a recording, the memory of a JVM) are changed in places that the input names: changed at random they would
//! hardly ever get past their first bytes.

#[path = "../../tracer/tests/hotspot_support/image.rs"]
mod image;
#[path = "../../tracer/tests/hotspot_support/snapshot.rs"]
mod snapshot;

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::PathBuf;
use std::sync::OnceLock;

use tracer::attribute::Rules;
use tracer::census::{self, Census};
use tracer::hotspot::{Hotspot, readable_class_name};
use tracer::output::{
    self, Options, Screen, View, dhat, flamegraph, folded, html, json, otlp, pprof, report2, text,
};
use tracer::probe::btf::Btf;
use tracer::process::elf::{Elf, SymbolTable};
use tracer::process::memory::{ImageMemory, ProcessMemory};
use tracer::process::target::{Stat, Status};
use tracer::process::{container, displayable, jvm, mapping, usdt};
use tracer::profile::diff::Diff;
use tracer::profile::{LinePattern, Profile};
use tracer::recording;
use tracer::symbolize::perf_map;
use tracer::{push, units, unwind, vmmap};

/// Code that takes bytes.
pub type Target = fn(&[u8]);

/// Targets by the folders of their seeds.
pub const ALL: [(&str, Target); 10] = [
    ("answer", answer),
    ("btf", btf),
    ("census", census_json),
    ("core", core),
    ("elf", elf),
    ("jvm", jvm_memory),
    ("proc", proc_texts),
    ("recording", changed_recording),
    ("rules", rules),
    ("words", words),
];

/// A file that has these bytes. One of each name is there at a time.
fn file_of(name: &str, bytes: &[u8]) -> PathBuf {
    static FOLDER: OnceLock<tempfile::TempDir> = OnceLock::new();
    let folder = FOLDER.get_or_init(|| {
        let in_memory = tempfile::tempdir_in("/dev/shm");
        in_memory.or_else(|_| tempfile::tempdir()).expect("a folder")
    });
    let path = folder.path().join(format!("{name}-{:?}", std::thread::current().id()));
    for beside in ["-wal", "-shm", "-journal"] {
        let _ = fs::remove_file(format!("{}{beside}", path.display()));
    }
    fs::write(&path, bytes).expect("a file");
    path
}

fn assert_shows(text: &str) {
    let is_shown = |char: char| char == '\n' || !char.is_control();
    assert!(text.chars().all(is_shown), "a control character is shown: {text:?}");
}

/// Places and values, from the input: where, by how much, with what.
fn edits(data: &[u8]) -> impl Iterator<Item = (u32, u8, u64)> + '_ {
    data.chunks_exact(13).map(|edit| {
        let place = u32::from_le_bytes(std::array::from_fn(|at| edit[at]));
        let value = u64::from_le_bytes(std::array::from_fn(|at| edit[5 + at]));
        (place, edit[4], value)
    })
}

/// Answers of a server of profiles.
fn answer(data: &[u8]) {
    if let Some(text) = push::partly(data) {
        assert_shows(&text);
    }
}

/// The kernel's types.
fn btf(data: &[u8]) {
    if let Ok(btf) = Btf::parse(data.to_vec()) {
        let _ = btf.offset("task_struct", &["utask"]);
        let _ = btf.offset("mm_struct", &["uprobes_state", "xol_area"]);
        let _ = btf.lacking(&["BPF_FUNC_loop", "task_struct"]);
    }
}

/// A census as JSON, compared with itself and with nothing.
fn census_json(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let Ok(census) = Census::parse(&text) else { return };
    show_census(&census);
    let empty = Census::parse("{\"schema\":\"tracer.census/1\"}").ok();
    for other in std::iter::once(&census).chain(&empty) {
        let diff = Diff::of_censuses(&census, other);
        let mut out = Vec::new();
        output::diff::text(&diff, &Options::default(), &mut out).expect("text");
        assert_shows(&String::from_utf8(out).expect("text"));
        report2::diff(&diff, &Options::default(), &mut Vec::new()).expect("JSON");
        output::diff::json(&diff, &Options::default(), &mut Vec::new()).expect("JSON");
    }
}

fn show_census(census: &Census) {
    assert_shows(&output::census::render(census, Screen::default()));
    serde_json::to_string(census).expect("JSON");
}

/// A core file.
fn core(data: &[u8]) {
    let path = file_of("core", data);
    if let Ok(census) = census::of_core(&path) {
        show_census(&census);
    }
}

/// An ELF file: sections, symbols, notes, probes, unwind rows.
fn elf(data: &[u8]) {
    let path = file_of("elf", data);
    if let Ok(elf) = Elf::read(File::open(&path).expect("the file")) {
        let _ = elf.build_id();
        if let Ok(sections) = elf.sections() {
            for section in &sections {
                let _ = elf.section_bytes(section);
            }
        }
        for which in [SymbolTable::Dynamic, SymbolTable::Full] {
            if let Ok(symbols) = elf.symbols(which) {
                for symbol in symbols.iter() {
                    let _ = elf.code_offset(symbol.vaddr);
                }
            }
        }
        let _ = usdt::read(&elf);
    }
    if let Ok(table) = unwind::table::compile(data) {
        for pc in [0, 1, 0x1000, u32::MAX] {
            let _ = table.row(pc);
        }
        let _ = table.bias(u64::MAX, 0);
        let _ = table.bias(0x7f00_0000_0000, 0x1000);
    }
}

/// The memory of a JVM, with other words in it.
struct Changed<'a> {
    memory: &'a ImageMemory,
    words: Vec<(u64, [u8; 8])>,
}

impl ProcessMemory for Changed<'static> {
    fn read(&self, address: u64, buffer: &mut [u8]) -> io::Result<()> {
        self.memory.read(address, buffer)?;
        for (start, word) in &self.words {
            for (at, byte) in word.iter().enumerate() {
                let place = start.wrapping_add(at as u64).checked_sub(address);
                if let Some(to) = place.and_then(|place| buffer.get_mut(usize::try_from(place).ok()?)) {
                    *to = *byte;
                }
            }
        }
        Ok(())
    }
}

/// The memory of a JVM (its tables of structures, compiled methods, their compressed numbers): read, named and shown.
fn jvm_memory(data: &[u8]) {
    static IMAGES: OnceLock<Vec<(image::Image, ImageMemory)>> = OnceLock::new();
    let images = IMAGES.get_or_init(|| {
        let load = |bytes: &[u8]| {
            let image = image::Image::load(bytes);
            let memory = image.memory();
            (image, memory)
        };
        vec![
            load(include_bytes!("../../tracer/tests/fixtures/1_8_0_504_8u504_ga_1_b01.jvm.zst")),
            load(include_bytes!("../../tracer/tests/fixtures/17_0_9_9.jvm.zst")),
            load(include_bytes!("../../tracer/tests/fixtures/25_0_2_10_LTS.jvm.zst")),
        ]
    });
    let Some((&which, data)) = data.split_first() else { return };
    let (image, memory) = &images[usize::from(which) % images.len()];
    let total: u64 = image.ranges.iter().map(|(_, bytes)| bytes.len() as u64).sum();
    let address = |place: u64| {
        let mut place = place % total;
        for (start, bytes) in &image.ranges {
            match place.checked_sub(bytes.len() as u64) {
                Some(rest) => place = rest,
                None => return start + place,
            }
        }
        0
    };
    let words = edits(data)
        .take(64)
        .map(|(place, kind, value)| {
            let at = address(u64::from(place) * 8);
            let value = match kind % 4 {
                0 => value,
                // A list that is its own next; another word of it; a small number.
                1 => at,
                2 => address(value),
                _ => value & 0xffff,
            };
            (at, value.to_le_bytes())
        })
        .collect();
    let memory = Changed { memory, words };
    if let Ok(mut hotspot) = Hotspot::with_symbols(image.symbols.iter().cloned().collect(), memory) {
        let frames = snapshot::frames(&image.expected);
        let _ = snapshot::snapshot(&mut hotspot, &frames[..frames.len().min(64)]);
    }
}

/// Texts of /proc and of files of the process's.
fn proc_texts(data: &[u8]) {
    let Some((&which, data)) = data.split_first() else { return };
    let text = String::from_utf8_lossy(data);
    match which % 7 {
        0 => {
            for mapping in mapping::parse(&text) {
                assert_shows(&displayable(&mapping.path));
            }
        }
        1 => {
            let mappings = vmmap::parse_smaps(data).expect("bytes can be read");
            let follows = |pair: &[std::ops::Range<u64>]| pair[0].end <= pair[1].start;
            assert!(mappings.windows(2).all(follows), "ranges that do not overlap: {mappings:x?}");
        }
        2 => {
            if let Some(stat) = Stat::parse(&text) {
                assert_shows(&stat.comm.to_string());
            }
        }
        3 => drop(Status::parse(&text)),
        4 => drop(container::parse(&text)),
        5 => {
            for entry in perf_map::parse(&text) {
                assert!(entry.start < entry.end);
                assert_shows(&entry.name);
            }
        }
        _ => {
            let command: Vec<String> = text.split('\0').map(str::to_owned).collect();
            let _ = jvm::main_class(&command);
            let _ = usdt::parse_arguments(&text);
        }
    }
}

/// A recording that somebody changed, to every output.
fn changed_recording(data: &[u8]) {
    static WHOLE: OnceLock<Vec<u8>> = OnceLock::new();
    let whole = WHOLE.get_or_init(|| {
        let packed = include_bytes!("../../tracer/tests/fixtures/recordings/c-program.trec.zst");
        zstd::decode_all(&packed[..]).expect("a recording")
    });
    let mut bytes = whole.clone();
    for (place, kind, value) in edits(data).take(64) {
        let at = place as usize % bytes.len().max(1);
        match kind % 4 {
            0 => bytes[at..].iter_mut().zip(value.to_le_bytes()).for_each(|(to, byte)| *to = byte),
            1 => bytes[at..].iter_mut().take(1).for_each(|to| *to = value as u8),
            2 => bytes.truncate(at.max(512)),
            // Another part of it, as large as a page.
            _ => {
                let from = value as usize % bytes.len();
                let length = (bytes.len() - from.max(at)).min(4096);
                bytes.copy_within(from..from + length, at);
            }
        }
    }
    let path = file_of("recording", &bytes);
    let Ok(recording) = recording::read(&path) else { return };
    show(&mut Profile::build(&recording, &Rules::builtin()));
}

/// Writes a profile in every format.
fn show(profile: &mut Profile) {
    let options = Options { verbose: true, all: true, ..Options::default() };
    let out = &mut Vec::new();
    text::render(profile, &options, out).expect("text");
    assert_shows(&String::from_utf8(std::mem::take(out)).expect("text"));
    report2::report(profile, &options, out).expect("JSON");
    serde_json::from_slice::<serde_json::Value>(out).expect("JSON");
    json::render(profile, &options, out).expect("JSON");
    html::render(profile, &options, out).expect("a page");
    pprof::render(profile, &options, out).expect("pprof");
    dhat::render(profile, &options, out).expect("DHAT");
    otlp::encode(profile, &options, None);
    let diff = Diff::of_profiles(profile, profile);
    assert!(diff.is_empty(), "it differs from itself");
    output::diff::text(&diff, &options, out).expect("text");
    profile.redact();
    for view in [View::Live, View::Allocated, View::Temporary, View::Leaks] {
        profile.keep_view(view);
        let options = Options { view, ..Options::default() };
        folded::render(profile, &options, out).expect("stacks");
        flamegraph::render(profile, &options, out).expect("a picture");
    }
}

/// Rules that a user wrote, by which a recording is told.
fn rules(data: &[u8]) {
    static RECORDING: OnceLock<recording::Recording> = OnceLock::new();
    let recording = RECORDING.get_or_init(|| {
        let packed = include_bytes!("../../tracer/tests/fixtures/recordings/c-program.trec.zst");
        let whole = zstd::decode_all(&packed[..]).expect("a recording");
        recording::read(file_of("ruled", &whole)).expect("a recording")
    });
    let path = file_of("rules", data);
    match Rules::load(&path) {
        Ok(rules) => {
            let mut out = Vec::new();
            text::render(&Profile::build(recording, &rules), &Options::default(), &mut out).expect("text");
            assert_shows(&String::from_utf8(out).expect("text"));
        }
        Err(error) => assert!(!error.to_string().is_empty()),
    }
}

/// Names and numbers: what a target chose to be called, what a user wrote.
fn words(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    assert_shows(&displayable(&text));
    assert_shows(&output::clean(&text));
    let _ = readable_class_name(&text);
    let _ = units::parse_bytes(&text);
    let _ = push::check(&text);
    if let Ok(line) = LinePattern::parse(&text) {
        let again = LinePattern::parse(&line.to_string());
        assert!(again.is_ok(), "{line}");
    }
    let _ = io::sink().write_all(output::fit(&text, 20).as_bytes());
}
