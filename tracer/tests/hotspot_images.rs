//! The HotSpot reader over saved images of JVMs, as they are and with what hostile memory could hold
//! instead. Needs no JDK. The ignored test makes the images anew, of the JDKs found.

mod common;
mod hotspot_support;

use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use hotspot_support::image::{Image, RecordingMemory};
use hotspot_support::snapshot::{frames, snapshot};
use hotspot_support::stopped_thread::StoppedThread;
use hotspot_support::{Jvm, jdks};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use tracer::hotspot::{Hotspot, JavaFrameKind, Stale, Symbols};
use tracer::process::memory::{ImageMemory, ProcessMemory};
use tracer::process::{mapping, root};
use tracer::unwind::modules::ModuleTables;
use tracer::unwind::walker::Walker;
use tracer_common::unwind::{Frame, frame_kind};

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures")
}

/// The saved images: file name and contents.
fn images() -> Vec<(String, Image)> {
    let entries = std::fs::read_dir(folder()).expect("the fixtures").flatten().map(|entry| entry.path());
    let mut paths: Vec<PathBuf> =
        entries.filter(|path| path.to_string_lossy().ends_with(".jvm.zst")).collect();
    paths.sort();
    let load = |path: PathBuf| {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        (name, Image::load(&std::fs::read(path).expect("a fixture")))
    };
    paths.into_iter().map(load).collect()
}

fn symbols(image: &Image) -> Symbols {
    image.symbols.iter().cloned().collect()
}

#[test]
fn images_say_what_their_jvms_said() {
    let images = images();
    assert!(images.len() >= 5, "{}", images.len());
    for (name, image) in images {
        let mut hotspot = Hotspot::with_symbols(symbols(&image), image.memory()).expect(&name);
        let text = snapshot(&mut hotspot, &frames(&image.expected));
        for (line, (ours, theirs)) in text.lines().zip(image.expected.lines()).enumerate() {
            assert_eq!(ours, theirs, "{name}:{line}");
        }
        assert_eq!(text.len(), image.expected.len(), "{name}");
        // Both compilers, inlining, the interpreter and a native method are in each.
        for part in ["Some(C1)", "Some(C2)", "Some(Inlined)", "Some(Interpreted)", "true, None)"] {
            assert!(text.contains(part), "{name}: {part}");
        }
    }
}

/// A frame whose cookie is another's gets no name, unless it was seen before.
#[test]
fn code_that_was_interrupted_has_its_methods_name() {
    let mut seen = 0;
    for (name, image) in images() {
        let compiled = frames(&image.expected).into_iter().find(|frame| frame.kind == frame_kind::COMPILED);
        let Some(frame) = compiled else { continue };
        let mut jvm = Hotspot::with_symbols(symbols(&image), image.memory()).expect(&name);
        let whole = jvm.resolve(&frame);
        let at = Frame { kind: frame_kind::STUB, aux: 0, extra: 0, ..frame };
        let frames = jvm.resolve(&at);
        let [interrupted] = &*frames else { panic!("{name}: {frames:?}") };
        assert_eq!(Some(interrupted.function()), whole.last().map(|outer| outer.function()), "{name}");
        assert_eq!(interrupted.line, None, "{name}");
        seen += 1;
    }
    assert!(seen > 0);
}

#[test]
fn stale_frames_have_no_wrong_name() {
    for (name, image) in images() {
        let open = || Hotspot::with_symbols(symbols(&image), image.memory()).expect(&name);
        let (mut seen, mut unseen) = (open(), open());
        for frame in frames(&image.expected) {
            let stale = match frame.kind {
                frame_kind::COMPILED => Stale::Nmethod(frame.extra + 1),
                frame_kind::INTERPRETED => Stale::Method,
                _ => continue,
            };
            if seen.resolve(&frame).iter().any(|java| java.kind != JavaFrameKind::Method) {
                continue;
            }
            let other = Frame { extra: frame.extra + 1, ..frame };
            for hotspot in [&mut seen, &mut unseen] {
                let java = hotspot.resolve(&other);
                assert_eq!(
                    (java.len(), java[0].kind, java[0].stale),
                    (1, JavaFrameKind::Unknown, Some(stale)),
                    "{name}"
                );
            }
        }
    }
}

/// A JVM that is gone says of no code that it was freed, and of no classes that they were unloaded.
#[test]
fn frames_of_a_jvm_that_is_gone_are_unreadable() {
    /// The memory of a process that can end.
    struct Mortal {
        memory: ImageMemory,
        is_gone: Arc<AtomicBool>,
    }
    impl ProcessMemory for Mortal {
        fn read(&self, address: u64, buffer: &mut [u8]) -> io::Result<()> {
            match self.is_gone.load(Ordering::Relaxed) {
                true => Err(io::ErrorKind::NotFound.into()),
                false => self.memory.read(address, buffer),
            }
        }
    }
    for (name, image) in images() {
        let is_gone = Arc::new(AtomicBool::new(false));
        let memory = Mortal { memory: image.memory(), is_gone: Arc::clone(&is_gone) };
        let mut hotspot = Hotspot::with_symbols(symbols(&image), memory).expect(&name);
        is_gone.store(true, Ordering::Relaxed);
        let mut kinds = BTreeSet::new();
        for frame in frames(&image.expected) {
            if matches!(frame.kind, frame_kind::COMPILED | frame_kind::INTERPRETED) {
                kinds.insert(frame.kind);
                let java = hotspot.resolve(&frame);
                assert_eq!((java.len(), java[0].kind), (1, JavaFrameKind::Unknown), "{name}");
                assert_eq!(java[0].stale, Some(Stale::Unreadable), "{name}: {frame:?}");
            }
        }
        assert_eq!(kinds.len(), 2, "{name}");
    }
}

/// Effects of the memory of a JVM that means harm on the reader: errors, but neither a panic nor a wait.
#[test]
fn mutated_images_are_survived() {
    let images = images();
    // Where a word is changed and to what.
    let word = prop_oneof![
        any::<u64>(),
        0..70_000_u64,
        any::<u32>().prop_map(u64::from),
        (0..u64::MAX).prop_map(|word| word | 1 << 63),
        Just(u64::MAX),
        Just(0),
        Just((1 << 47) - 8),
    ];
    let changes = proptest::collection::vec((any::<u32>(), word, any::<bool>()), 1..60);
    let mut runner = TestRunner::new(Config { failure_persistence: None, ..Config::default() });
    runner
        .run(&(0..images.len(), changes), |(index, changes)| {
            let (_, image) = &images[index];
            let mut ranges = image.ranges.clone();
            let addresses: Vec<u64> = ranges.iter().map(|(start, _)| *start).collect();
            for (place, word, is_pointer) in changes {
                // Structures are small ranges, the JVM's constants large ones: both in their turn.
                let index = place as usize % ranges.len();
                let bytes = &mut ranges[index].1;
                let words = bytes.len() / 8;
                if words == 0 {
                    continue;
                }
                let at = place as usize / 7 % words * 8;
                // A pointer to something that is there leads further than a random one.
                let word = if is_pointer { addresses[word as usize % addresses.len()] } else { word };
                bytes[at..at + 8].copy_from_slice(&word.to_le_bytes());
            }
            if let Ok(mut hotspot) = Hotspot::with_symbols(symbols(image), ImageMemory::new(ranges)) {
                snapshot(&mut hotspot, &frames(&image.expected));
            }
            Ok(())
        })
        .expect("no panic");
}

/// Makes the images anew.
#[test]
#[ignore = "writes the fixtures, of the JDKs found: cargo test --test hotspot_images -- --ignored"]
fn write_images() {
    let mut tables = ModuleTables::new(1 << 22);
    for jdk in jdks() {
        let mut jvm = Jvm::start(&jdk, &["-Xmx64m"], "HotspotChain", &[]);
        let chains: Vec<_> =
            jvm.thread_dump().into_iter().filter(|thread| thread.name.starts_with("chain")).collect();
        jvm.process.stop();
        let (file, bias) = jvm.libjvm().expect("libjvm");
        let symbols = Symbols::read(&file, bias).expect("symbols");
        let (memory, recorded) = RecordingMemory::new(jvm.memory());
        let mut hotspot = Hotspot::with_symbols(symbols.clone(), memory).expect("a JVM");
        let live = jvm.memory();
        let mappings = mapping::read(jvm.pid()).expect("maps");
        tables.update(&mappings, |m| root::mapped_file(jvm.pid(), m).map(|(file, _)| file), &live);
        let walker = Walker::new(&live, &tables, hotspot.unwinder_config());
        let mut frames = Vec::new();
        for chain in chains {
            let stack = walker.walk(StoppedThread::new(chain.tid.0).expect("it rests").state);
            frames.extend(stack.frames.into_iter().filter(|frame| frame.kind != frame_kind::NATIVE));
        }
        let expected = snapshot(&mut hotspot, &frames);
        let symbols = symbols.iter().map(|(name, address)| (name.to_owned(), address)).collect();
        let image = Image { symbols, ranges: recorded.ranges(), expected };
        let version: String =
            hotspot.version().chars().map(|c| if c.is_alphanumeric() { c } else { '_' }).collect();
        let path = folder().join(format!("{version}.jvm.zst"));
        std::fs::create_dir_all(folder()).expect("the folder");
        let bytes = image.save();
        println!("{}: {} ranges, {} bytes", path.display(), image.ranges.len(), bytes.len());
        std::fs::write(path, bytes).expect("written");
        jvm.process.signal(rustix::process::Signal::CONT);
    }
}

/// A libjvm without its private symbols cannot say where a virtual thread's frames go on in the heap: that is told. From JDK 27
/// on, the tables by which the JVM describes itself have it.
#[test]
fn a_stripped_libjvm_lacks_the_return_barrier() {
    for (name, image) in images() {
        let private = |name: &str| name.starts_with("_ZN12StubRoutines");
        let stripped = image.symbols.iter().filter(|(name, _)| !private(name)).cloned().collect();
        let hotspot = Hotspot::with_symbols(stripped, image.memory()).expect(&name);
        let told = hotspot.missing().iter().any(|missing| missing.contains("_cont_returnBarrier"));
        let feature = hotspot.feature_version();
        assert_eq!(told, (21..27).contains(&feature), "{name}: {:?}", hotspot.missing());
        assert_eq!(hotspot.unwinder_config().return_barrier != 0, feature >= 27, "{name}");
    }
}
