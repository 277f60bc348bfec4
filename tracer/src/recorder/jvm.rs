//! The target's JVM: opened as soon as it is far enough in its own start to be understood.

use std::{
    collections::HashMap,
    io,
    path::PathBuf,
    time::{Duration, Instant},
};

use tracer_common::config::Jvm;

use super::{RecordError, attach::Attached, expected::ExpectedJvm, symbolizer::SymbolizerThread};
use crate::{
    hotspot::{Hotspot, HotspotError, Starting, Symbols},
    process::{
        InnerTid, Module, Pid, Target, Tid, error_chain, jvm,
        mapping::{self, Mapping},
        memory::LiveMemory,
        module,
        read_budget::ReadBudget,
        target::Status,
    },
    recording::{JvmInfo, Writer},
    session::Session,
};

/// Time that a JVM may take until it describes itself. It takes a fraction of a second.
const PATIENCE: Duration = Duration::from_secs(60);

/// Time after which a JVM is asked again what it could not tell, at first.
const REFRESH: Duration = Duration::from_millis(20);

/// Progress of a recording with the target's JVM.
pub(super) struct JvmWatch {
    pid: Pid,
    state: State,
}

enum State {
    /// No libjvm is mapped.
    Absent,
    /// The JVM is mapped, and may not describe itself yet.
    Starting { info: Box<jvm::JvmInfo>, starting: Option<Starting>, since: Instant },
    /// The unwinder knows it; its own probe points are not attached to yet.
    Met(Box<Met>),
    /// The unwinder knows it, but not yet how compiled methods are told from stubs.
    Known { hotspot: Box<Hotspot>, budget: ReadBudget, since: Instant, again: Instant },
    /// The unwinder knows it, or nobody ever will.
    Settled,
}

/// See [`State::Met`].
struct Met {
    libjvm: PathBuf,
    config: Jvm,
    starting: Option<Starting>,
}

impl State {
    fn starting(info: jvm::JvmInfo) -> Self {
        Self::Starting { info: Box::new(info), starting: None, since: Instant::now() }
    }
}

impl JvmWatch {
    /// A watch for the JVM of `target`, or the one that it will be.
    pub(super) fn new(target: &Target) -> Self {
        let state = target.jvm.clone().map_or(State::Absent, State::starting);
        Self { pid: target.pid, state }
    }

    /// Is there a JVM that was not understood yet?
    pub(super) fn is_starting(&self) -> bool {
        matches!(self.state, State::Starting { .. })
    }

    /// Is there something that is not known yet of a JVM?
    pub(super) fn is_unsettled(&self) -> bool {
        matches!(self.state, State::Starting { .. } | State::Met(_) | State::Known { .. })
    }

    /// May unknown code be that of a JVM which is not understood yet, when these are its mappings?
    pub(super) fn is_awaited(&self, mappings: &[Mapping]) -> bool {
        match self.state {
            State::Absent => mappings.iter().any(|mapping| mapping.path.ends_with("/libjvm.so")),
            State::Starting { .. } => true,
            State::Met(_) | State::Known { .. } | State::Settled => false,
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

    /// Gives up: the JVM is not waited for any more.
    pub(super) fn give_up(&mut self) {
        self.state = State::Settled;
    }

    /// Opens the JVM if there is one and it is ready, and tells everyone of it. Stacks that wait for that can be
    /// finished then, before [`Self::finish_attach`].
    ///
    /// # Errors
    /// The kernel or the recording refuses.
    pub(super) fn poll(
        &mut self,
        attached: &mut Attached,
        symbolizer: &SymbolizerThread,
        session: &mut Session,
        writer: &mut Writer,
    ) -> Result<(), RecordError> {
        if let State::Known { .. } = self.state {
            return self.refresh(attached);
        }
        let State::Starting { info, starting, since } = &mut self.state else {
            return Ok(());
        };
        let budget = ReadBudget::for_bytes(resident_bytes(self.pid));
        let hotspot = match open(self.pid, info, starting, attached.expected_jvm.as_ref(), &budget) {
            Ok(hotspot) => hotspot,
            Err(HotspotError::NotReady(_)) if since.elapsed() < PATIENCE => return Ok(()),
            // Its file was opened by the range where it was mapped, which the dynamic linker goes on to cut.
            Err(HotspotError::Library(error))
                if error.kind() == io::ErrorKind::NotFound && since.elapsed() < PATIENCE =>
            {
                let mappings = mapping::read(self.pid).unwrap_or_default();
                if let Some(found) = jvm::find(self.pid, &module::modules(self.pid, &mappings)) {
                    **info = found;
                }
                return Ok(());
            }
            Err(error) => {
                writer.note(&format!("Java frames are missing: {}", error_chain(&error)))?;
                self.state = State::Settled;
                return Ok(());
            }
        };
        let config = hotspot.unwinder_config();
        set_jvm(attached, config)?;
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
        let starting = starting.take();
        self.state = State::Met(Box::new(Met { libjvm: info.libjvm.file.clone(), config, starting }));
        symbolizer.set_jvm(hotspot, budget);
        Ok(())
    }

    /// Finishes what takes time when a JVM was opened: attaches to its own probe points, if that was not done ahead.
    ///
    /// # Errors
    /// The kernel or the recording refuses.
    pub(super) fn finish_attach(
        &mut self,
        attached: &mut Attached,
        writer: &mut Writer,
    ) -> Result<(), RecordError> {
        let State::Met(met) = &mut self.state else {
            return Ok(());
        };
        let Met { libjvm, config, starting } = &mut **met;
        let ahead = attached.expected_jvm.as_ref().filter(|expected| expected.is(libjvm));
        let seen = match ahead.map(ExpectedJvm::seen) {
            Some(seen) => seen,
            None => attached.probes.attach_usdt(libjvm),
        };
        if seen.collections {
            writer.gc_probes()?;
        }
        if seen.frees_of_code {
            attached.unwinder.keep_java()?;
        }
        let more = if tells_nmethods(config) { None } else { starting.as_mut() };
        let budget = ReadBudget::for_bytes(resident_bytes(self.pid));
        self.state = match more.and_then(|starting| again(self.pid, starting, &budget)) {
            Some(hotspot) => {
                let now = Instant::now();
                State::Known { hotspot: Box::new(hotspot), budget, since: now, again: now }
            }
            None => State::Settled,
        };
        Ok(())
    }

    /// Asks again how compiled methods are told from stubs, less and less often: a JVM may have none.
    fn refresh(&mut self, attached: &mut Attached) -> Result<(), RecordError> {
        let State::Known { hotspot, budget, since, again } = &mut self.state else {
            return Ok(());
        };
        let now = Instant::now();
        if now < *again {
            return Ok(());
        }
        *again = now + since.elapsed().max(REFRESH);
        budget.renew(resident_bytes(self.pid));
        let config = hotspot.unwinder_config();
        if tells_nmethods(&config) {
            set_jvm(attached, config)?;
            self.state = State::Settled;
        }
        Ok(())
    }
}

fn set_jvm(attached: &mut Attached, config: Jvm) -> Result<(), RecordError> {
    Ok(attached.unwinder.set_jvm(config)?)
}

/// Can the unwinder tell compiled methods from stubs? Before JDK 25 it is told by their blobs' names,
/// which are known when the first ones are there.
fn tells_nmethods(config: &Jvm) -> bool {
    config.blob_kind != u32::MAX || config.name_nmethod != 0
}

/// Opens the JVM; its symbols are read once, however often it is not ready, or were read before.
fn open(
    pid: Pid,
    info: &jvm::JvmInfo,
    starting: &mut Option<Starting>,
    expected: Option<&ExpectedJvm>,
    budget: &ReadBudget,
) -> Result<Hotspot, HotspotError> {
    let memory = LiveMemory::open(pid).map_err(HotspotError::Library)?.within(budget);
    let Module { file, load_bias, .. } = &info.libjvm;
    let starting = match starting {
        Some(starting) => starting,
        None => {
            let symbols = match expected.filter(|expected| expected.is(file)) {
                Some(expected) => expected.symbols().loaded_at(*load_bias),
                None => Symbols::read(file, *load_bias)?,
            };
            starting.insert(Starting::new(symbols))
        }
    };
    starting.open(memory)
}

/// The JVM once more, for one who goes on asking it.
fn again(pid: Pid, starting: &mut Starting, budget: &ReadBudget) -> Option<Hotspot> {
    starting.open(LiveMemory::open(pid).ok()?.within(budget)).ok()
}

/// Bytes of the process in memory, 0 if it is gone: its budget grows with them.
fn resident_bytes(pid: Pid) -> u64 {
    Status::read(pid.leader()).map_or(0, |status| status.rss_bytes)
}

/// Gives the session the Java threads' names in full.
fn name_threads(pid: Pid, hotspot: &Hotspot, session: &mut Session) {
    let by_inner_tid = host_tids(pid);
    for thread in hotspot.threads() {
        let tid = by_inner_tid.get(&thread.tid).copied().unwrap_or(Tid(thread.tid.0));
        if let Some(name) = thread.name {
            session.threads.named(tid, name);
        }
    }
}

/// Thread ids of `pid` by the ones in its own pid namespace.
fn host_tids(pid: Pid) -> HashMap<InnerTid, Tid> {
    let tids = pid.threads().into_iter().flatten();
    tids.filter_map(|tid| Some((Status::read(tid).ok()?.inner_tid(tid), tid))).collect()
}
