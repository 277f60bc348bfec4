//! The BPF programs of one session: loaded, attached to one target, detached when dropped.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs::File,
    path::Path,
    thread::{self, JoinHandle},
};

use aya::{
    Ebpf,
    maps::{Array, Map, MapData},
};
use tracer_common::{config::Config, table::UsdtSpec};

use super::{
    ProbeError,
    attach::{self, TRACEPOINTS, UprobeLink, UprobePoint},
    held, leaving,
    load::{self, Programs, Sizes},
    log::BpfLog,
    plan,
    rows::UnwindTables,
    survey::Surveyed,
};
use crate::process::{
    Target,
    elf::{Elf, ElfError},
    usdt,
};

/// Probes on their way out. Dropped, it waits until the last is gone.
pub struct Detaching {
    threads: Vec<JoinHandle<()>>,
    /// To the last.
    at_end: Vec<UprobeLink>,
}

impl Drop for Detaching {
    fn drop(&mut self) {
        self.at_end.clear();
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

/// What the JVM's own probe points tell.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SeenOfJvm {
    /// When collections begin and end.
    pub collections: bool,
    /// When compiled code is freed, and when classes are.
    pub frees_of_code: bool,
}

/// See the module.
pub struct Probes {
    pid: u32,
    /// `None` once detached.
    programs: Option<Programs>,
    usdt_specs: Array<MapData, UsdtSpec>,
    log: Option<BpfLog>,
    attached_count: usize,
    /// On the allocator.
    of_allocator: Vec<UprobeLink>,
    /// On all else.
    of_others: Vec<UprobeLink>,
    /// See [`Self::attach_leaving`].
    at_end: Vec<UprobeLink>,
    /// Where those go that are detached.
    leaving: Vec<JoinHandle<()>>,
    notes: Vec<String>,
    /// The libraries whose functions of [`held`] were looked at. None: they are not watched.
    held: Option<BTreeSet<held::FileId>>,
    samples_faults: bool,
}

/// What is watched beside mappings, threads and the JVM's own probe points.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProbeSet {
    /// The allocator.
    Full,
    /// What is held behind a few rare calls.
    Light,
}

impl Probes {
    /// Loads the programs of `set` for process `pid`. Nothing is attached yet.
    ///
    /// # Errors
    /// The kernel refuses.
    pub fn load(pid: u32, config: &Config, sizes: Sizes, set: ProbeSet) -> Result<Self, ProbeError> {
        let mut programs = load::load_some(config, sizes, &move |name| match set {
            ProbeSet::Full => !plan::is_of_light(name),
            ProbeSet::Light => !plan::is_of_allocator(name),
        })?;
        let ebpf = programs.ebpf();
        let specs = ebpf.take_map("USDT_SPECS").ok_or(ProbeError::MissingMap("USDT_SPECS"))?;
        let log = BpfLog::open(ebpf);
        Ok(Self {
            pid,
            usdt_specs: specs.try_into()?,
            log,
            attached_count: 0,
            of_allocator: Vec::new(),
            of_others: Vec::new(),
            at_end: Vec::new(),
            leaving: Vec::new(),
            notes: Vec::new(),
            held: (set == ProbeSet::Light).then(BTreeSet::new),
            samples_faults: false,
            programs: Some(programs),
        })
    }

    /// The tables that the unwinder reads; to be taken once.
    ///
    /// # Errors
    /// They were taken before.
    pub fn unwind_tables(&mut self) -> Result<UnwindTables, ProbeError> {
        UnwindTables::take(self.ebpf()?)
    }

    /// The map `name`, for whoever reads it; to be taken once.
    ///
    /// # Errors
    /// It was taken before, or is not in the object.
    pub fn take_map(&mut self, name: &'static str) -> Result<Map, ProbeError> {
        self.ebpf()?.take_map(name).ok_or(ProbeError::MissingMap(name))
    }

    /// How many probes are attached.
    pub fn attached_count(&self) -> usize {
        self.attached_count
    }

    /// Notes what will not be seen.
    pub fn note(&mut self, sentence: &str) {
        self.notes.push(sentence.to_owned());
    }

    /// What will not be seen, in sentences for the report: those that were not taken yet.
    pub fn take_notes(&mut self) -> Vec<String> {
        std::mem::take(&mut self.notes)
    }

    /// Attaches to page faults of the target, of which a sample is taken. A kernel without the tracepoint is noted.
    ///
    /// # Errors
    /// The kernel refuses the program.
    pub fn attach_faults(&mut self) -> Result<(), ProbeError> {
        self.load_light()?;
        match attach::tracepoint(self.ebpf()?, plan::FAULTS) {
            Ok(()) => {
                self.attached_count += 1;
                self.samples_faults = true;
            }
            Err(error) => {
                self.notes.push(format!("light: memory that is first touched is not seen: {error}"))
            }
        }
        Ok(())
    }

    /// Are page faults sampled?
    pub fn samples_faults(&self) -> bool {
        self.samples_faults
    }

    /// Loads the programs of [`ProbeSet::Light`], if the session began without.
    fn load_light(&mut self) -> Result<(), ProbeError> {
        if self.held.is_none() {
            self.programs()?.load(&plan::is_of_light)?;
            self.held = Some(BTreeSet::new());
        }
        Ok(())
    }

    /// Is the session over?
    pub fn is_detached(&self) -> bool {
        self.programs.is_none()
    }

    /// Is what [`Self::attach_held`] attaches to watched?
    pub fn watches_held(&self) -> bool {
        self.held.is_some()
    }

    /// Attaches to what is held in the library that the target knows as `path` and this process can open as `file`,
    /// be it mapped already or not. What cannot be watched is noted, and nothing is done twice. True: probes were
    /// attached. In a session that began with [`ProbeSet::Full`], the programs are loaded at the first call.
    ///
    /// # Errors
    /// The kernel refuses a program.
    pub fn attach_held(&mut self, path: &str, file: &Path) -> Result<bool, ProbeError> {
        self.load_light()?;
        let known = self.held.get_or_insert_default();
        let library = match held::survey(path, file, known) {
            Ok(Some(found)) => found,
            Ok(None) => return Ok(false),
            Err(error) => {
                self.notes.push(format!("light: what {path} holds is not seen: {error}"));
                return Ok(false);
            }
        };
        self.notes.extend(library.lacks.map(|lacks| format!("light: {path}: {lacks}")));
        let before = self.attached_count;
        for group in held::groups(library.functions) {
            let attached =
                group.points().and_then(|points| self.uprobes(&points).map_err(|error| error.to_string()));
            match attached {
                Ok(links) => self.of_others.extend(links),
                Err(why) => self.notes.push(format!("light: {} of {path} are not seen: {why}", group.what)),
            }
        }
        Ok(self.attached_count > before)
    }

    /// Attaches to the allocator functions where they were placed. One that cannot be placed is noted
    /// if the totals are right without it.
    ///
    /// # Errors
    /// The kernel refuses, or an essential function has no place.
    pub fn attach_allocator(&mut self, functions: Vec<Surveyed>) -> Result<(), ProbeError> {
        let mut points = Vec::new();
        for surveyed in functions {
            let is_essential = surveyed.is_essential();
            let function = &surveyed.function;
            let name = || format!("{} of {}", function.function.name(), function.path);
            match surveyed.placement {
                Ok(place) => points.extend(match surveyed.inside.as_slice() {
                    [] => plan::allocator_points(function, place.file_offset),
                    inside => plan::inside_points(function, inside),
                }),
                Err(source) if is_essential => {
                    return Err(ProbeError::Unplaced { function: name(), source });
                }
                Err(error) => self.notes.push(format!("{} is not seen: {error}", name())),
            }
        }
        let links = self.uprobes(&points)?;
        self.of_allocator.extend(links);
        Ok(())
    }

    /// Attaches to the kernel's tracepoints.
    ///
    /// # Errors
    /// The kernel refuses, or has not one of them.
    pub fn attach_tracepoints(&mut self) -> Result<(), ProbeError> {
        attach::tracepoints(self.ebpf()?)?;
        self.attached_count += TRACEPOINTS.len();
        Ok(())
    }

    /// Attaches to where the target ends, and until [`Detaching`] is dropped it stands still there. For a target that
    /// was started for this, and is let run on by whoever did.
    pub fn attach_leaving(&mut self, target: &Target) {
        match self.uprobes(&leaving::points(target)) {
            Ok(links) => self.at_end = links,
            Err(error) => tracing::debug!(%error, "its end is not seen before it is gone"),
        }
    }

    /// Attaches to HotSpot's own probe points in the libjvm that this process can open as `file`, be it mapped already
    /// or not. A build without them is traced without GC marks and early names.
    pub fn attach_usdt(&mut self, file: &Path) -> SeenOfJvm {
        let elf = File::open(file).map_err(ElfError::from).and_then(Elf::read);
        let probes = match elf.and_then(|elf| usdt::read(&elf)) {
            Ok(probes) => probes,
            Err(error) => {
                tracing::debug!(%error, file = %file.display(), "no USDT probes");
                return SeenOfJvm::default();
            }
        };
        // Those of a program together.
        let mut points: BTreeMap<&str, Vec<UprobePoint>> = BTreeMap::new();
        for (index, (point, spec)) in plan::usdt_points(file, &probes).into_iter().enumerate() {
            match self.usdt_specs.set(index as u32, spec, 0) {
                Ok(()) => points.entry(point.program).or_default().push(point),
                Err(error) => tracing::debug!(%error, "USDT probe left out"),
            }
        }
        let mut attached = Vec::new();
        for (program, points) in points {
            match self.uprobes(&points) {
                Ok(links) => {
                    self.of_others.extend(links);
                    attached.push(program);
                }
                Err(error) => tracing::debug!(%error, "USDT probes left out"),
            }
        }
        let has = |program| attached.contains(&program);
        SeenOfJvm {
            collections: has("gc_end"),
            frees_of_code: has("nmethod_unload") && has("class_unloaded"),
        }
    }

    /// Passes on what the BPF programs say of themselves.
    pub fn flush_log(&mut self) {
        if let Some(log) = &mut self.log {
            log.flush();
        }
    }

    /// Begins to detach everything, in threads of their own: for each link, and each tracepoint, the kernel waits until
    /// no CPU can be in its program. What was taken stays readable.
    pub fn detach(&mut self) -> Detaching {
        let of_allocator = std::mem::take(&mut self.of_allocator);
        let of_others = std::mem::take(&mut self.of_others);
        self.leave(of_allocator.into_iter().chain(of_others));
        let programs = self.programs.take();
        let mut threads = std::mem::take(&mut self.leaving);
        threads.push(thread::spawn(move || drop(programs)));
        Detaching { threads, at_end: std::mem::take(&mut self.at_end) }
    }

    /// Begins to detach from the allocator, in threads of their own.
    ///
    /// # Errors
    /// The session is over.
    pub fn detach_allocator(&mut self) -> Result<(), ProbeError> {
        self.programs()?;
        let links = std::mem::take(&mut self.of_allocator);
        self.attached_count -= links.iter().map(|link| link.place_count).sum::<usize>();
        self.leave(links);
        Ok(())
    }

    /// One for each link: they wait at the same time.
    fn leave(&mut self, links: impl IntoIterator<Item = UprobeLink>) {
        self.leaving.extend(links.into_iter().map(|link| thread::spawn(move || drop(link))));
    }

    pub(super) fn programs(&mut self) -> Result<&mut Programs, ProbeError> {
        self.programs.as_mut().ok_or(ProbeError::Detached)
    }

    fn ebpf(&mut self) -> Result<&mut Ebpf, ProbeError> {
        Ok(self.programs()?.ebpf())
    }

    fn uprobes(&mut self, points: &[UprobePoint]) -> Result<Vec<UprobeLink>, ProbeError> {
        let pid = self.pid;
        let links = attach::uprobes(self.programs()?, pid, points)?;
        self.attached_count += points.len();
        Ok(links)
    }
}
