//! The target's JVM: opened as soon as it is far enough in its own start to be understood.

use std::collections::HashMap;

use super::{resolver::Resolver, setup::Attached};
use crate::{
    cli::failure::{Failure, status},
    hotspot::{Hotspot, HotspotError},
    recording::{JvmInfo, Writer},
    session::Session,
    target::{Module, Target, jvm, memory::LiveMemory, process::Status},
};

/// Where a recording is with the target's JVM.
pub(super) struct JvmWatch {
    pid: u32,
    state: State,
}

enum State {
    /// No libjvm is mapped.
    Absent,
    /// It is mapped, and does not describe itself yet.
    Starting(jvm::JvmInfo),
    /// The unwinder knows it, or nobody ever will.
    Settled,
}

impl JvmWatch {
    /// For the JVM of `target`, or the one that it will be.
    pub(super) fn new(target: &Target) -> Self {
        let state = target.jvm.clone().map_or(State::Absent, State::Starting);
        Self { pid: target.pid, state }
    }

    /// The target's modules are others now: one may be a JVM.
    pub(super) fn modules_changed(&mut self, modules: &[Module]) {
        if let State::Absent = self.state
            && let Some(info) = jvm::find(self.pid, modules)
        {
            self.state = State::Starting(info);
        }
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
        let State::Starting(info) = &self.state else {
            return Ok(());
        };
        let opened = LiveMemory::open(self.pid)
            .map_err(HotspotError::Library)
            .and_then(|memory| Hotspot::open(&info.libjvm.file, info.libjvm.load_bias, memory));
        let mut hotspot = match opened {
            Ok(hotspot) => hotspot,
            Err(HotspotError::NotReady(what)) => {
                tracing::debug!(what, "the JVM is starting");
                return Ok(());
            }
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
            .kernel
            .set_jvm(&hotspot.unwinder_config())
            .map_err(|error| Failure::caused(status::FAILED, &error))?;
        attached.usdt(&info.libjvm);
        // Remembered: what is unloaded before its first stack is seen has a name all the same.
        hotspot.nmethods();
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
