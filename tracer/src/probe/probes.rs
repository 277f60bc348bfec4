//! The BPF programs of one session: loaded, attached to one target, detached when dropped.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs::File,
    io,
    os::fd::OwnedFd,
    path::Path,
    thread::{self, JoinHandle},
};

use aya::{
    Ebpf,
    maps::{Array, Map, MapData},
};
use tracer_common::{
    config::Config,
    table::{Deadline, UsdtSpec},
};

use super::{
    ProbeError,
    attach::{self, LinkHandle, UprobePoint},
    exit_points,
    guard::{Group, Guard},
    heartbeat::Heartbeat,
    lifecycle,
    links::Links,
    load::{self, Programs, Sizes},
    log::BpfLog,
    mapping_calls::{SeenAt, is_one},
    plan::PlannedFunction,
    points,
    rows::UnwindTables,
    run_times::Counting,
    tracefs,
};
use crate::process::{
    Pid, Target,
    elf::{Elf, ElfError},
    usdt,
};

/// Probes on their way out. Dropped, it waits until the last is gone.
pub struct Detaching {
    threads: Vec<JoinHandle<()>>,
    /// Links of [`Group::Exit`], and the guard, to the last.
    links: Links,
}

impl Drop for Detaching {
    fn drop(&mut self) {
        self.links.take(Group::Exit);
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

/// The facts that the JVM's own probe points tell.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SeenOfJvm {
    /// Are the beginnings and ends of collections seen?
    pub collections: bool,
    /// Are frees of compiled code and of classes seen?
    pub frees_of_code: bool,
}

/// See the module.
pub struct Probes {
    pid: Pid,
    /// `None` once detached.
    programs: Option<Programs>,
    usdt_specs: Array<MapData, UsdtSpec>,
    log: Option<BpfLog>,
    attached_count: usize,
    links: Links,
    /// Places of allocator functions that are attached to.
    allocator_count: usize,
    /// Threads in which links are closed.
    detaching: Vec<JoinHandle<()>>,
    notes: Vec<String>,
    /// The libraries whose functions of [`lifecycle`] were looked at. `None` if they are not watched.
    held: Option<BTreeSet<lifecycle::FileId>>,
    samples_faults: bool,
    mapping_calls: SeenAt,
}

/// The set of functions that are watched, beside mappings, threads and the JVM's own probe points.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProbeSet {
    /// The allocator.
    Full,
    /// Lifecycle functions: the few rare calls behind which memory is held.
    Light,
}

impl Probes {
    /// Loads the programs of `set` for process `pid`. Nothing is attached yet.
    ///
    /// # Errors
    /// The kernel refuses.
    pub fn load(pid: Pid, config: &Config, sizes: Sizes, set: ProbeSet) -> Result<Self, ProbeError> {
        let mapping_calls = SeenAt::of_kernel();
        let mut programs = load::load_some(config, sizes, &move |name| {
            let is_of_other_set = match set {
                ProbeSet::Full => points::is_of_light(name),
                ProbeSet::Light => points::is_of_allocator(name),
            };
            !is_of_other_set && !mapping_calls.leaves_out(name)
        })?;
        let ebpf = programs.ebpf();
        let specs = ebpf.take_map("USDT_SPECS").ok_or(ProbeError::MissingMap("USDT_SPECS"))?;
        let log = BpfLog::open(ebpf);
        Ok(Self {
            pid,
            usdt_specs: specs.try_into()?,
            log,
            attached_count: 0,
            links: Links::default(),
            allocator_count: 0,
            detaching: Vec::new(),
            notes: Vec::new(),
            held: (set == ProbeSet::Light).then(BTreeSet::new),
            samples_faults: false,
            mapping_calls,
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

    /// Number of probes that are attached.
    pub fn attached_count(&self) -> usize {
        self.attached_count
    }

    /// Notes what will not be seen.
    pub fn note(&mut self, sentence: &str) {
        self.notes.push(sentence.to_owned());
    }

    /// Sentences for the report about memory that will not be seen: those that were not taken yet.
    pub fn take_notes(&mut self) -> Vec<String> {
        std::mem::take(&mut self.notes)
    }

    /// Attaches to page faults of the target, of which a sample is taken. A kernel without the tracepoint is noted.
    ///
    /// # Errors
    /// The kernel refuses the program.
    pub fn attach_faults(&mut self) -> Result<(), ProbeError> {
        self.load_light()?;
        match attach::tracepoint(self.ebpf()?, points::FAULTS) {
            Ok(link) => {
                self.keep(Group::Others, vec![link])?;
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
            self.programs()?.load(&points::is_of_light)?;
            self.held = Some(BTreeSet::new());
        }
        Ok(())
    }

    /// Is the session over?
    pub fn is_detached(&self) -> bool {
        self.programs.is_none()
    }

    /// Are the functions watched that [`Self::attach_lifecycle`] attaches to?
    pub fn watches_lifecycle(&self) -> bool {
        self.held.is_some()
    }

    /// Attaches to what is held in the library that the target knows as `path` and this process can open as `file`, be
    /// it mapped already or not. A library that cannot be watched is noted, and nothing is done twice. Returns true if
    /// probes were attached. In a session that began with [`ProbeSet::Full`], the programs are loaded at the first
    /// call.
    ///
    /// # Errors
    /// The kernel refuses a program.
    pub fn attach_lifecycle(&mut self, path: &str, file: &Path) -> Result<bool, ProbeError> {
        self.load_light()?;
        let known = self.held.get_or_insert_default();
        let library = match lifecycle::place(path, file, known) {
            Ok(Some(found)) => found,
            Ok(None) => return Ok(false),
            Err(error) => {
                self.notes.push(format!("light: what {path} holds is not seen: {error}"));
                return Ok(false);
            }
        };
        self.notes.extend(library.lacks.map(|lacks| format!("light: {path}: {lacks}")));
        let before = self.attached_count;
        for group in lifecycle::groups(library.functions) {
            let attached = group
                .points()
                .and_then(|points| self.uprobes(Group::Others, &points).map_err(|error| error.to_string()));
            match attached {
                Ok(()) => {}
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
    pub fn attach_allocator(&mut self, functions: Vec<PlannedFunction>) -> Result<(), ProbeError> {
        let mut points = Vec::new();
        for planned in functions {
            let is_essential = planned.is_essential();
            let function = &planned.function;
            let name = || format!("{} of {}", function.function.name(), function.path);
            match planned.placement {
                Ok(place) => points.extend(match planned.inside.as_slice() {
                    [] => points::allocator_points(function, place.file_offset),
                    inside => points::inside_points(function, inside),
                }),
                Err(source) if is_essential => {
                    return Err(ProbeError::Unplaced { function: name(), source });
                }
                Err(error) => self.notes.push(format!("{} is not seen: {error}", name())),
            }
        }
        self.uprobes(Group::Allocator, &points)?;
        self.allocator_count += points.len();
        Ok(())
    }

    /// Attaches to the system calls that change mappings, and to the tracepoints of tasks.
    ///
    /// # Errors
    /// The kernel refuses, or has not one of them.
    pub fn attach_kernel(&mut self) -> Result<(), ProbeError> {
        let links = self.attach_mapping_calls()?;
        self.attached_count += links.len();
        self.keep(Group::Others, links)?;
        let links = attach::tracepoints(self.ebpf()?)?;
        self.attached_count += links.len();
        self.keep(Group::Others, links)
    }

    /// Attaches to the system calls that change mappings: at tracepoints where the kernel says only now that it
    /// does not trace its functions.
    fn attach_mapping_calls(&mut self) -> Result<Vec<OwnedFd>, ProbeError> {
        let refused = match (self.mapping_calls, self.mapping_calls.attach(self.ebpf()?)) {
            (SeenAt::Functions, Err(refused)) => refused,
            (_, attached) => return attached,
        };
        tracing::debug!(%refused, "mapping calls are seen at tracepoints");
        self.mapping_calls = SeenAt::Tracepoints;
        tracefs::ensure().map_err(|source| ProbeError::Io { what: "mounting tracefs".to_owned(), source })?;
        self.programs()?.load(&|name| is_one(name) && !SeenAt::Tracepoints.leaves_out(name))?;
        self.mapping_calls.attach(self.ebpf()?)
    }

    /// Attaches to where the target ends, and until [`Detaching`] is dropped it stands still there. For a target that
    /// was started for this, and is let run on by whoever did.
    pub fn attach_exit_points(&mut self, target: &Target) {
        if let Err(error) = self.uprobes(Group::Exit, &exit_points::points(target)) {
            tracing::debug!(%error, "its end is not seen before it is gone");
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
        for (index, (point, spec)) in points::usdt_points(file, &probes).into_iter().enumerate() {
            match self.usdt_specs.set(index as u32, spec, 0) {
                Ok(()) => points.entry(point.program).or_default().push(point),
                Err(error) => tracing::debug!(%error, "USDT probe left out"),
            }
        }
        let mut attached = Vec::new();
        for (program, points) in points {
            match self.uprobes(Group::Others, &points) {
                Ok(()) => attached.push(program),
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
    /// no CPU can be in its program. Data that was taken stays readable.
    pub fn detach(&mut self) -> Detaching {
        self.close(Group::Allocator);
        self.close(Group::Others);
        let programs = self.programs.take();
        let mut threads = std::mem::take(&mut self.detaching);
        threads.extend(in_thread(move || drop(programs)));
        Detaching { threads, links: std::mem::take(&mut self.links) }
    }

    /// Begins to detach from the allocator, in threads of their own.
    ///
    /// # Errors
    /// The session is over.
    pub fn detach_allocator(&mut self) -> Result<(), ProbeError> {
        self.programs()?;
        self.attached_count -= std::mem::take(&mut self.allocator_count);
        self.close(Group::Allocator);
        Ok(())
    }

    /// Closes the links of a group in threads, one for each: they wait at the same time.
    fn close(&mut self, group: Group) {
        let links = self.links.take(group);
        self.detaching.extend(links.into_iter().filter_map(|link| in_thread(move || drop(link))));
    }

    /// Hands all links, now and later, to a guard, and starts the heartbeat that keeps it and the programs going.
    /// `started`: the program that the recorder started, which the guard resumes if the recorder falls silent.
    ///
    /// # Errors
    /// There is no process or thread to be had.
    pub fn start_guard(&mut self, started: Option<Pid>) -> Result<(), ProbeError> {
        let deadline: Array<MapData, Deadline> = self.take_map("DEADLINE")?.try_into()?;
        let start = || {
            let guard = Guard::start(started)?;
            let heartbeat = Heartbeat::start(deadline, guard.socket()?)?;
            self.links.set_guard(guard, heartbeat)
        };
        start().map_err(guard_error)
    }

    /// The heartbeat, once [`Self::start_guard`] was called and until the probes are detached.
    pub fn heartbeat(&self) -> Option<&Heartbeat> {
        self.links.heartbeat()
    }

    /// Is each probe a perf event, as this kernel cannot attach to many places at once?
    pub fn uses_perf_events(&self) -> bool {
        self.programs.as_ref().is_none_or(|programs| programs.multi().is_none())
    }

    /// Switches the kernel's statistics of programs on, as long as the result lives.
    ///
    /// # Errors
    /// It needs CAP_SYS_ADMIN, which the guard has if there is one.
    pub fn count_runs(&self) -> Result<Counting, ProbeError> {
        match self.links.guard() {
            Some(guard) => guard.count_runs().map(Counting::of).map_err(guard_error),
            None => Counting::start(),
        }
    }

    fn keep(&mut self, group: Group, links: Vec<OwnedFd>) -> Result<(), ProbeError> {
        self.links.keep(group, links).map_err(guard_error)
    }

    pub(super) fn programs(&mut self) -> Result<&mut Programs, ProbeError> {
        self.programs.as_mut().ok_or(ProbeError::Detached)
    }

    fn ebpf(&mut self) -> Result<&mut Ebpf, ProbeError> {
        Ok(self.programs()?.ebpf())
    }

    fn uprobes(&mut self, group: Group, points: &[UprobePoint]) -> Result<(), ProbeError> {
        let pid = self.pid;
        let links = attach::uprobes(self.programs()?, pid, points)?;
        self.attached_count += links.iter().map(|link| link.place_count).sum::<usize>();
        self.keep(group, links.into_iter().map(|LinkHandle { link, .. }| link).collect())
    }
}

/// Does this in a thread of its own. Where there is none to be had, what it would drop is dropped at once.
fn in_thread(drop_it: impl FnOnce() + Send + 'static) -> Option<JoinHandle<()>> {
    thread::Builder::new().name("detach".to_owned()).spawn(drop_it).ok()
}

fn guard_error(source: io::Error) -> ProbeError {
    ProbeError::Io { what: "the guard of the probes".to_owned(), source }
}
