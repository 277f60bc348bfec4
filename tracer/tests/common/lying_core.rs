//! A core file in which words of memory and numbers of headers are changed, again and again, and what must hold for
//! whatever reads it: it ends soon, without a panic, and prints nothing that acts on a terminal.

use std::error::Error;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::time::{Duration, Instant};

use tracer::process::Pid;
use tracer::process::core::Core;

use super::process::status_bytes;
use super::random::Random;

/// Mappings of which words are changed, by their size: small ones have what walks of malloc and of the JVM's statistics go by,
/// large ones the Java heap, too.
pub(crate) const SMALL: u64 = 8 << 20;
pub(crate) const WITH_HEAP: u64 = 64 << 20;

/// Lies of one reader, and the wall time after which there are enough of them on a slow machine.
const LIES: u64 = 200;
const ENOUGH: Duration = Duration::from_secs(6);
/// Answers that a reader must give before it may stop early.
const ANSWERS_MIN: u32 = 4;

/// A word of writable memory that is not zero.
struct Word {
    /// Offset of the lie in the file.
    offset: u64,
    address: u64,
    value: u64,
}

/// See the module.
pub(crate) struct LyingCore {
    file: File,
    words: Vec<Word>,
}

impl LyingCore {
    /// Opens a core file, of whose writable mappings of less than `max_bytes` words are going to be changed.
    pub(crate) fn open(path: &Path, max_bytes: u64) -> Self {
        let file = File::options().read(true).write(true).open(path).expect("the core");
        Self { file, words: words_of(path, max_bytes) }
    }

    /// Gives one lie after another to `read`, which makes a text and JSON. Each must end within `cpu` of the thread's
    /// CPU time beyond twice what it takes of the core as it is, which this build and this machine have a part in, and
    /// take no more than `most_bytes` of memory. Gives how many answers there were.
    pub(crate) fn each_lie(
        &self,
        cpu: Duration,
        most_bytes: u64,
        mut read: impl FnMut() -> Result<(String, String), Box<dyn Error>>,
    ) -> u32 {
        let started = thread_cpu();
        read().expect("the core as it is makes sense");
        let honest = thread_cpu().saturating_sub(started);
        let allowed = cpu + 2 * honest;
        let (begin, mut answers) = (Instant::now(), 0);
        for seed in 0..LIES {
            let before = self.change(seed);
            let (started, memory) = (thread_cpu(), Memory::watch());
            match read() {
                Ok((text, json)) => {
                    answers += 1;
                    let parsed: serde_json::Result<serde_json::Value> = serde_json::from_str(&json);
                    assert!(parsed.is_ok(), "seed {seed}: {json}");
                    assert!(
                        text.chars().all(|char| char == '\n' || !char.is_control()),
                        "seed {seed}: {text:?}"
                    );
                }
                Err(error) => assert!(!error.to_string().is_empty(), "seed {seed}"),
            }
            let took = thread_cpu().saturating_sub(started);
            assert!(took < allowed, "seed {seed} took {took:?}, of {allowed:?}");
            let taken = memory.taken_bytes();
            assert!(taken <= most_bytes, "seed {seed} took {} MiB", taken >> 20);
            for (offset, old) in before.into_iter().rev() {
                self.file.write_all_at(&old, offset).expect("written");
            }
            if begin.elapsed() > ENOUGH && answers >= ANSWERS_MIN {
                break;
            }
        }
        answers
    }

    /// Changes words, and numbers of headers, as `seed` has it. Gives what was there.
    fn change(&self, seed: u64) -> Vec<(u64, [u8; 8])> {
        let mut random = Random::new(seed);
        let mut before = Vec::new();
        let mut write = |offset: u64, value: u64| {
            let mut old = [0; 8];
            self.file.read_exact_at(&mut old, offset).expect("read");
            self.file.write_all_at(&value.to_le_bytes(), offset).expect("written");
            before.push((offset, old));
        };
        for _ in 0..1 << (seed % 12) {
            let word = &self.words[random.next() as usize % self.words.len()];
            let other = &self.words[random.next() as usize % self.words.len()];
            let value = match random.next() % 6 {
                // A list that is its own next.
                0 => word.address,
                1 => other.address,
                2 => other.value,
                3 => word.value ^ 1 << (random.next() % 64),
                4 => u64::MAX - random.next() % 64,
                _ => 0,
            };
            write(word.offset, value);
        }
        if seed.is_multiple_of(3) {
            // Not that of the notes, which is the first.
            let header = 64 + 56 * (1 + random.next() % 20);
            write(header + 8 * (1 + random.next() % 5), random.next() >> (random.next() % 64));
        }
        before
    }
}

/// The words of writable mappings of less than `max_bytes`: libraries, the program, malloc's heap.
fn words_of(path: &Path, max_bytes: u64) -> Vec<Word> {
    let bytes = std::fs::read(path).expect("the core");
    let word = |at: usize| u64::from_le_bytes(bytes[at..at + 8].try_into().expect("eight bytes"));
    let core = Core::open(path).expect("a core");
    let watched: Vec<_> = core
        .mappings()
        .into_iter()
        .filter(|mapping| mapping.writable && mapping.end - mapping.start < max_bytes)
        .collect();
    let count = u16::from_le_bytes([bytes[56], bytes[57]]);
    let mut words = Vec::new();
    for header in (0..usize::from(count)).map(|index| 64 + 56 * index) {
        let [offset, start, _, length] = [8, 16, 24, 32].map(|at| word(header + at));
        if watched.iter().any(|mapping| mapping.start == start) {
            let word = |at: u64| Word {
                offset: offset + at,
                address: start + at,
                value: word((offset + at) as usize),
            };
            words.extend((0..length / 8).map(|index| word(8 * index)).filter(|word| word.value != 0));
        }
    }
    assert!(words.len() > 1000, "{} words", words.len());
    words
}

/// The memory of this process, from a moment on.
struct Memory {
    before: u64,
}

impl Memory {
    fn watch() -> Self {
        // The largest size so far is the present one again.
        std::fs::write("/proc/self/clear_refs", "5").expect("written");
        Self { before: status_bytes(Pid::own(), "VmRSS:") }
    }

    /// The largest size since then, beyond the first.
    fn taken_bytes(&self) -> u64 {
        status_bytes(Pid::own(), "VmHWM:").saturating_sub(self.before)
    }
}

fn thread_cpu() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}
