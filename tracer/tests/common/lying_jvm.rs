//! A live JVM whose memory lies where readers look: it is stopped, each word that a command reads of it is noted, and
//! some of these words are changed.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::Read;
use std::os::unix::fs::FileExt;
use std::process::{Command, Stdio};
use std::time::Duration;

use tracer::process::Pid;

use super::process::{Lines, Process, status_bytes};
use super::random::Random;
use super::recorder::tracer;

/// Regions of `tests/programs/mirrors.c`.
const ZEROS: u64 = 0x1000_0000_0000;
const ZEROS_BYTES: u64 = 64 << 30;
const SELVES: u64 = 0x2000_0000_0000;
const LINKS: u64 = 0x2100_0000_0000;
const TEXT: u64 = 0x2200_0000_0000;
const REGION_BYTES: u64 = 8 << 20;

/// Of longer reads (a page, a window) so many words are noted.
const WORDS_OF_READ: usize = 64;
/// A word leads to a read that begins so close behind its value.
const NEAR_BYTES: u64 = 512;

/// A word of the JVM's memory that a command reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Word {
    address: u64,
    value: u64,
}

/// See the module.
pub(crate) struct LyingJvm {
    process: Process,
    _stdout: Lines,
    memory: File,
    /// Words by what they are to their readers, as far as reads tell: a field of one kind of structure is a group.
    groups: Vec<Vec<Word>>,
    /// Variables of the JVM's library that lead to something, and words of what they lead to: where walks begin.
    roots: Vec<Word>,
    behind_roots: Vec<Word>,
    /// Words that lead to a read, by its length: to structures of one kind. Those with the most words come first.
    links: Vec<Vec<Word>>,
}

/// The end of one command, and what it took.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) status: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
    pub(crate) cpu: Duration,
    pub(crate) most_bytes: u64,
}

impl LyingJvm {
    /// Starts a JVM, which says "ready", with the library of mirrors in it, stops it and notes what `commands` read.
    pub(crate) fn start(command: &mut Command, mirrors: &std::path::Path, commands: &[&[&str]]) -> Self {
        command.env("LD_PRELOAD", mirrors);
        let (process, mut stdout, _stderr) = Process::start(command);
        stdout.until("ready");
        process.until_at_rest();
        process.stop();
        let path = format!("/proc/{}/mem", process.pid());
        let memory = File::options().read(true).write(true).open(path).expect("the JVM's memory");
        let mut this = Self {
            process,
            _stdout: stdout,
            memory,
            groups: Vec::new(),
            roots: Vec::new(),
            behind_roots: Vec::new(),
            links: Vec::new(),
        };
        let mut reads = Vec::new();
        for arguments in commands {
            reads.extend(this.reads_of(arguments));
        }
        this.groups = this.groups_of(&reads);
        this.find_roots();
        this.find_links(&reads);
        let words: usize = this.groups.iter().map(Vec::len).sum();
        let (groups, roots) = (this.groups.len(), this.roots.len());
        assert!(words > 2000 && groups > 100 && roots > 20, "{words} words, {groups} groups, {roots} roots");
        this
    }

    pub(crate) fn pid(&self) -> Pid {
        self.process.pid()
    }

    /// A number of the JVM's `/proc/PID/status`, in bytes.
    pub(crate) fn status_bytes(&self, field: &str) -> u64 {
        status_bytes(self.pid(), field)
    }

    /// Reads that a command makes of the JVM's memory: address and bytes.
    fn reads_of(&self, arguments: &[&str]) -> Vec<(u64, u64)> {
        let folder = tempfile::tempdir().expect("a folder");
        let seen = folder.path().join("calls");
        let recorder = tracer();
        let output = Command::new("strace")
            .args(["-f", "--seccomp-bpf", "-y", "-s", "0", "-e", "trace=pread64,process_vm_readv", "-o"])
            .arg(&seen)
            .arg(recorder.get_program())
            .args(arguments)
            .args(["-p", &self.pid().to_string()])
            .output()
            .expect("strace");
        // One that refuses this collector, or finds itself too slow, has read as well.
        assert!(output.status.code().is_some(), "{}", String::from_utf8_lossy(&output.stderr));
        let seen = fs::read_to_string(&seen).expect("what was seen");
        // "PID pread64(5</proc/7/mem>, ""..., 8, 140123) = 8", "PID process_vm_readv(7, [..], 1, [{iov_base=0x.., iov_len=..}], ..".
        let of_line = |line: &str| {
            if line.contains("/mem>,") {
                let (call, _) = line.rsplit_once(") ")?;
                let mut last = call.rsplit(", ");
                let address = last.next()?.parse().ok()?;
                return Some((address, last.next()?.parse().ok()?));
            }
            let (_, remote) = line.split_once("process_vm_readv(")?.1.rsplit_once("{iov_base=0x")?;
            let (address, rest) = remote.split_once(", iov_len=")?;
            let length = rest.split_once('}')?.0.parse().ok()?;
            Some((u64::from_str_radix(address, 16).ok()?, length))
        };
        seen.lines().filter_map(of_line).collect()
    }

    /// The words of these reads. Two are of one group if they lie at the same place of reads of the same length, and
    /// what they lead to is read at the same offset.
    fn groups_of(&self, reads: &[(u64, u64)]) -> Vec<Vec<Word>> {
        let starts: BTreeSet<u64> = reads.iter().map(|(address, _)| *address).collect();
        let mut groups: BTreeMap<(u64, u64, Option<u64>), BTreeSet<Word>> = BTreeMap::new();
        let mut random = Random::new(8);
        for (address, length) in reads {
            let first = address & !7;
            let mut bytes = vec![0; (address + length - first).next_multiple_of(8).min(64 << 10) as usize];
            if self.memory.read_exact_at(&mut bytes, first).is_err() {
                continue;
            }
            let words: Vec<Word> = (first..)
                .step_by(8)
                .zip(bytes.as_chunks::<8>().0)
                .map(|(address, bytes)| Word { address, value: u64::from_le_bytes(*bytes) })
                .collect();
            let is_long = words.len() > WORDS_OF_READ;
            let step =
                if is_long { 1 + random.below(2 * words.len() as u64 / WORDS_OF_READ as u64) } else { 1 };
            for word in words.iter().step_by(step as usize) {
                let next = starts.range(word.value..word.value.saturating_add(NEAR_BYTES)).next();
                let leads_to = next.map(|next| next - word.value);
                let place = if is_long { u64::MAX } else { word.address - first };
                groups.entry((*length, place, leads_to)).or_default().insert(*word);
            }
        }
        groups.into_values().map(|words| words.into_iter().collect()).collect()
    }

    fn find_links(&mut self, reads: &[(u64, u64)]) {
        let lengths: BTreeMap<u64, u64> = reads.iter().copied().collect();
        let mut links: BTreeMap<u64, BTreeSet<Word>> = BTreeMap::new();
        for word in self.groups.iter().flatten() {
            if let Some(length) = lengths.get(&word.value).filter(|length| **length > 8) {
                links.entry(*length).or_default().insert(*word);
            }
        }
        self.links = links.into_values().map(|words| words.into_iter().collect()).collect();
        self.links.sort_by_key(|words| std::cmp::Reverse(words.len()));
    }

    /// Number of lies that [`Self::with_endless_list`] tells apart.
    pub(crate) fn endless_lists(&self) -> u64 {
        3 * self.links.len() as u64
    }

    /// Makes all that leads to structures of one kind lead into memory without an end, while `look` looks: first all kinds
    /// of structures with links, then with other ones.
    pub(crate) fn with_endless_list<T>(&self, which: u64, look: impl FnOnce() -> T) -> T {
        let which = which as usize;
        let words = &self.links[which % self.links.len()];
        let middle = LINKS + REGION_BYTES / 2;
        let lie = [middle, middle + 8, SELVES][which / self.links.len() % 3];
        let before: Vec<u64> = words.iter().map(|word| self.write(word.address, lie)).collect();
        let seen = look();
        for (word, old) in words.iter().zip(before).rev() {
            self.write(word.address, old);
        }
        seen
    }

    fn find_roots(&mut self) {
        let maps = fs::read_to_string(format!("/proc/{}/maps", self.pid())).expect("readable");
        let mut data: Vec<std::ops::Range<u64>> = Vec::new();
        for line in maps.lines() {
            let fields: Vec<_> = line.split_ascii_whitespace().collect();
            let Some((start, end)) = fields[0].split_once('-') else { continue };
            let [start, end] =
                [start, end].map(|text| u64::from_str_radix(text, 16).expect("maps are in hex"));
            // Variables without a value in the file are in anonymous memory behind.
            let is_behind = fields.len() == 5 && data.last().is_some_and(|data| data.end == start);
            let is_data = fields.get(5).is_some_and(|path| path.ends_with("/libjvm.so"));
            if fields[1].starts_with("rw") && (is_data || is_behind) {
                data.push(start..end);
            }
        }
        let words: BTreeSet<Word> = self.groups.iter().flatten().copied().collect();
        let leads: BTreeSet<u64> = words.iter().map(|word| word.address).collect();
        let is_read = |at: u64| leads.range(at..at.saturating_add(NEAR_BYTES)).next().is_some();
        let is_root = |word: &&Word| {
            data.iter().any(|data| data.contains(&word.address))
                && word.value > 1 << 16
                && is_read(word.value)
        };
        self.roots = words.iter().filter(is_root).copied().collect();
        let places: BTreeSet<u64> = self.roots.iter().map(|root| root.value).collect();
        let is_behind = |word: &&Word| {
            places.range(word.address.saturating_sub(NEAR_BYTES - 1)..=word.address).next().is_some()
        };
        self.behind_roots = words.iter().filter(is_behind).copied().collect();
    }

    /// Changes words as `seed` has it, some or many, while `look` looks.
    pub(crate) fn with_lies<T>(&self, seed: u64, look: impl FnOnce() -> T) -> T {
        let mut random = Random::new(seed + 1);
        let mut before = Vec::new();
        for _ in 0..1 << (seed % 7) {
            let word = match random.below(4) {
                0 => *random.of(&self.roots),
                1 => *random.of(&self.behind_roots),
                _ => self.any(&mut random),
            };
            let lie = self.lie(word, &mut random);
            before.push((word.address, self.write(word.address, lie)));
        }
        let seen = look();
        for (address, old) in before.into_iter().rev() {
            self.write(address, old);
        }
        seen
    }

    /// A lie for this word: a link to itself, into memory without an end or with nothing in it, a number out of all bounds.
    fn lie(&self, word: Word, random: &mut Random) -> u64 {
        let high = word.value & !0xffff_ffff;
        match random.below(16) {
            0 => word.address,
            1 | 2 => SELVES + 8 * random.below(REGION_BYTES / 16),
            3 | 4 => LINKS + REGION_BYTES / 2 + 8 * random.below(REGION_BYTES / 32),
            5 => TEXT + 8 * random.below(REGION_BYTES / 64),
            6 => ZEROS + 8 * random.below(ZEROS_BYTES / 16),
            7 => self.any(random).value,
            8 => self.any(random).address,
            9 => word.value ^ 1 << random.below(64),
            10 => u64::MAX - random.below(2) * 7,
            11 => 0,
            12 => high | 0x7fff_ffff,
            13 => high | 0xffff_ffff,
            14 => high | 1 << random.below(26),
            _ => 1 << random.below(48),
        }
    }

    /// Any word that is read.
    fn any(&self, random: &mut Random) -> Word {
        let group = random.of(&self.groups);
        *random.of(group)
    }

    /// Writes a word; gives what was there. Where nothing can be written, nothing is changed.
    fn write(&self, address: u64, value: u64) -> u64 {
        let mut old = [0; 8];
        if self.memory.read_exact_at(&mut old, address).is_ok() {
            let _ = self.memory.write_all_at(&value.to_le_bytes(), address);
        }
        u64::from_le_bytes(old)
    }

    /// Runs a command on the JVM to its end.
    pub(crate) fn look(&self, arguments: &[&str]) -> Outcome {
        let mut command = tracer();
        command.args(arguments).args(["-p", &self.pid().to_string()]);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        #[expect(clippy::zombie_processes, reason = "wait4 below, which tells what it took")]
        let mut child = command.spawn().expect("tracer");
        let (mut stdout, mut errors) =
            (child.stdout.take().expect("piped"), child.stderr.take().expect("piped"));
        let errors = std::thread::spawn(move || {
            let mut text = Vec::new();
            errors.read_to_end(&mut text).map(|_| String::from_utf8_lossy(&text).into_owned())
        });
        let mut text = Vec::new();
        stdout.read_to_end(&mut text).expect("readable");
        let (mut status, pid) = (0, child.id().cast_signed());
        // SAFETY: integers, for which zeros are values; the kernel writes to locals, and the child is ours.
        let usage = unsafe {
            let mut usage: libc::rusage = std::mem::zeroed();
            assert_eq!(libc::wait4(pid, &raw mut status, 0, &raw mut usage), pid);
            usage
        };
        let time =
            |time: libc::timeval| Duration::new(time.tv_sec.unsigned_abs(), time.tv_usec as u32 * 1000);
        Outcome {
            status: if libc::WIFEXITED(status) { libc::WEXITSTATUS(status) } else { -libc::WTERMSIG(status) },
            stdout: String::from_utf8_lossy(&text).into_owned(),
            stderr: errors.join().expect("a thread").expect("readable"),
            cpu: time(usage.ru_utime) + time(usage.ru_stime),
            most_bytes: usage.ru_maxrss.unsigned_abs() << 10,
        }
    }
}
