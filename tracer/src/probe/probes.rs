//! The BPF programs of one session: loaded, attached to one target, detached when dropped.

use std::thread::{self, JoinHandle};

use aya::{
    Ebpf,
    maps::{Array, Map, MapData},
};
use tracer_common::{config::Config, table::UsdtSpec};

use super::{
    ProbeError,
    attach::{self, TRACEPOINTS, UprobePoint},
    load::{self, Sizes},
    log::BpfLog,
    plan,
    rows::UnwindTables,
    survey::Surveyed,
};
use crate::target::{Module, usdt};

/// Probes on their way out. Dropped, it waits until the last is gone.
pub struct Detaching {
    thread: Option<JoinHandle<()>>,
}

impl Drop for Detaching {
    fn drop(&mut self) {
        if let Some(thread) = self.thread.take() {
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
    ebpf: Option<Ebpf>,
    usdt_specs: Array<MapData, UsdtSpec>,
    log: Option<BpfLog>,
    attached_count: usize,
    notes: Vec<String>,
}

impl Probes {
    /// Loads the programs for process `pid`. Nothing is attached yet.
    ///
    /// # Errors
    /// The kernel refuses.
    pub fn load(pid: u32, config: &Config, sizes: Sizes) -> Result<Self, ProbeError> {
        let mut ebpf = load::load(config, sizes)?;
        let specs = ebpf.take_map("USDT_SPECS").ok_or(ProbeError::MissingMap("USDT_SPECS"))?;
        let log = BpfLog::open(&mut ebpf);
        Ok(Self {
            pid,
            usdt_specs: specs.try_into()?,
            log,
            attached_count: 0,
            notes: Vec::new(),
            ebpf: Some(ebpf),
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

    /// What will not be seen, in sentences for the report.
    pub fn notes(&self) -> &[String] {
        &self.notes
    }

    /// Attaches to the allocator functions where they were placed. One that cannot be placed is noted
    /// if the totals are right without it.
    ///
    /// # Errors
    /// The kernel refuses, or an essential function has no place.
    pub fn attach_allocator(&mut self, functions: Vec<Surveyed>) -> Result<(), ProbeError> {
        for surveyed in functions {
            let is_essential = surveyed.is_essential();
            let function = &surveyed.function;
            let name = || format!("{} of {}", function.function.name(), function.path);
            match surveyed.placement {
                Ok(place) => {
                    for point in plan::allocator_points(function, place.file_offset) {
                        self.uprobe(&point)?;
                    }
                }
                Err(source) if is_essential => {
                    return Err(ProbeError::Unplaced { function: name(), source });
                }
                Err(error) => self.notes.push(format!("{} is not seen: {error}", name())),
            }
        }
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

    /// Attaches to HotSpot's own probe points. A build without them is traced without GC marks and
    /// early names.
    pub fn attach_usdt(&mut self, libjvm: &Module) -> SeenOfJvm {
        let probes = match libjvm.elf().and_then(|elf| usdt::read(&elf)) {
            Ok(probes) => probes,
            Err(error) => {
                tracing::debug!(%error, path = libjvm.path, "no USDT probes");
                return SeenOfJvm::default();
            }
        };
        let mut attached = Vec::new();
        for (index, (point, spec)) in plan::usdt_points(libjvm, &probes).into_iter().enumerate() {
            let set = self.usdt_specs.set(index as u32, spec, 0).map_err(ProbeError::from);
            match set.and_then(|()| self.uprobe(&point)) {
                Ok(()) => attached.push(point.program),
                Err(error) => tracing::debug!(%error, "USDT probe left out"),
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

    /// Begins to detach everything, in a thread of its own: for each probe the kernel waits until no CPU
    /// can be in it, which takes seconds in all. What was taken stays readable.
    pub fn detach(&mut self) -> Detaching {
        let ebpf = self.ebpf.take();
        Detaching { thread: Some(thread::spawn(move || drop(ebpf))) }
    }

    fn ebpf(&mut self) -> Result<&mut Ebpf, ProbeError> {
        self.ebpf.as_mut().ok_or(ProbeError::Detached)
    }

    fn uprobe(&mut self, point: &UprobePoint) -> Result<(), ProbeError> {
        let pid = self.pid;
        attach::uprobe(self.ebpf()?, pid, point)?;
        self.attached_count += 1;
        Ok(())
    }
}
