//! The target's JVM: opened as soon as it is far enough in its own start to be understood.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use super::{expected::ExpectedJvm, resolver::Resolver, setup::Attached};
use crate::{
    cli::failure::{Failure, status},
    hotspot::{Hotspot, HotspotError, Starting, Symbols},
    recording::{JvmInfo, Writer},
    session::Session,
    target::{Module, Target, jvm, mapping::Mapping, memory::LiveMemory, process::Status},
};

/// How long a JVM may take until it describes itself. It takes a fraction of a second.
const PATIENCE: Duration = Duration::from_secs(60);

/// Where a recording is with the target's JVM.
pub(super) struct JvmWatch {
    pid: u32,
    state: State,
}

enum State {
    /// No libjvm is mapped.
    Absent,
    /// It is mapped, and may not describe itself yet.
    Starting { info: Box<jvm::JvmInfo>, starting: Option<Starting>, since: Instant },
    /// The unwinder knows it, or nobody ever will.
    Settled,
}

impl State {
    fn starting(info: jvm::JvmInfo) -> Self {
        Self::Starting { info: Box::new(info), starting: None, since: Instant::now() }
    }
}

impl JvmWatch {
    /// For the JVM of `target`, or the one that it will be.
    pub(super) fn new(target: &Target) -> Self {
        let state = target.jvm.clone().map_or(State::Absent, State::starting);
        Self { pid: target.pid, state }
    }

    /// Is there a JVM that was not understood yet?
    pub(super) fn is_starting(&self) -> bool {
        matches!(self.state, State::Starting { .. })
    }

    /// May unknown code be that of a JVM which is not understood yet, when these are its mappings?
    pub(super) fn is_awaited(&self, mappings: &[Mapping]) -> bool {
        match self.state {
            State::Absent => mappings.iter().any(|mapping| mapping.path.ends_with("/libjvm.so")),
            State::Starting { .. } => true,
            State::Settled => false,
        }
    }

    /// The target's modules are others now: one may be a JVM.
    pub(super) fn modules_changed(&mut self, modules: &[Module]) {
        if let State::Absent = self.state
            && let Some(info) = jvm::find(self.pid, modules)
        {
            self.state = State::starting(info);
        }
    }

    /// Nobody waits for it any more.
    pub(super) fn give_up(&mut self) {
        self.state = State::Settled;
    }

    /// Opens the JVM if there is one and it is ready, and tells everyone of it.
    ///
    /// # Errors
    /// The kernel or the recording refuses.
    pub(super) fn poll(
        &mut self,
        attached: &mut Attached,
        resolver: &Resolver,
        session: &mut Session,
        writer: &mut Writer,
    ) -> Result<(), Failure> {
        let State::Starting { info, starting, since } = &mut self.state else {
            return Ok(());
        };
        let hotspot = match open(self.pid, info, starting, attached.expected_jvm.as_ref()) {
            Ok(hotspot) => hotspot,
            Err(HotspotError::NotReady(_)) if since.elapsed() < PATIENCE => return Ok(()),
            Err(error) => {
                let note =
                    format!("Java frames are missing: {}", Failure::caused(status::LACKING, &error).error);
                writer.note(&note)?;
                self.state = State::Settled;
                return Ok(());
            }
        };
        attached
            .unwind
            .set_jvm(hotspot.unwinder_config())
            .map_err(|error| Failure::caused(status::FAILED, &error))?;
        let seen = attached.probes.attach_usdt(&info.libjvm);
        if seen.collections {
            writer.gc_probes()?;
        }
        if seen.frees_of_code {
            attached.unwind.keep_java().map_err(|error| Failure::caused(status::FAILED, &error))?;
        }
        name_threads(self.pid, &hotspot, session);
        writer.jvm(&JvmInfo {
            version: Some(hotspot.version().to_owned()),
            vendor: info.vendor.clone().or_else(|| hotspot.vendor().map(str::to_owned)),
            gc: hotspot.gc().map(str::to_owned),
            java_home: info.java_home.clone(),
        })?;
        for missing in hotspot.missing() {
            writer.note(&format!("not understood of this JVM: {missing}"))?;
        }
        resolver.set_jvm(hotspot);
        self.state = State::Settled;
        Ok(())
    }
}

/// Opens the JVM; its symbols are read once, however often it is not ready, or were read before.
fn open(
    pid: u32,
    info: &jvm::JvmInfo,
    starting: &mut Option<Starting>,
    expected: Option<&ExpectedJvm>,
) -> Result<Hotspot, HotspotError> {
    let memory = LiveMemory::open(pid).map_err(HotspotError::Library)?;
    let Module { file, load_bias, .. } = &info.libjvm;
    let starting = match starting {
        Some(starting) => starting,
        None => {
            let known = expected.and_then(|expected| expected.symbols_of(file));
            let symbols = match known {
                Some(symbols) => symbols.loaded_at(*load_bias),
                None => Symbols::read(file, *load_bias)?,
            };
            starting.insert(Starting::new(symbols))
        }
    };
    starting.open(memory)
}

/// Gives the session the Java threads' names in full.
fn name_threads(pid: u32, hotspot: &Hotspot, session: &mut Session) {
    let by_inner_tid = host_tids(pid);
    for thread in hotspot.threads() {
        let tid = by_inner_tid.get(&thread.tid).copied().unwrap_or(thread.tid);
        if let Some(name) = thread.name {
            session.threads.named(tid, name);
        }
    }
}

/// Thread ids of `pid` by the ones in its own pid namespace.
fn host_tids(pid: u32) -> HashMap<u32, u32> {
    let tasks = std::fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
    let tids = tasks.filter_map(|task| task.file_name().to_str()?.parse::<u32>().ok());
    tids.filter_map(|tid| Some((*Status::read(tid).ok()?.namespace_pids.last()?, tid))).collect()
}
