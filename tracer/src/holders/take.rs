//! Takes a look at who keeps native memory: of a live process, or of a core file.
//!
//! Gives the subject of the look beside its result, so that a refusal says of which process it is.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::{Holders, HoldersError, Image, Notice, Options, of_image, of_process};
use crate::census::TakeError;
use crate::hotspot::{Hotspot, HotspotError};
use crate::process::core::{Core, CoreError};
use crate::process::read_budget::ReadBudget;
use crate::process::{Pid, Target, TargetError, inspect};

/// The process whose memory was looked at.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Subject {
    pub pid: Pid,
    pub comm: String,
    pub command: Vec<String>,
    pub container: Option<String>,
    pub java_home: Option<String>,
    /// The JVM's version.
    pub version: Option<String>,
    /// The core file that was read instead of a process.
    pub core: Option<PathBuf>,
}

/// A look, and the process that it is of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HoldersResult {
    pub subject: Subject,
    /// The answer, or the reason for which there is none.
    pub result: Result<Holders, HoldersError>,
}

/// Looks at process `pid`; `notice` is told what happens to it.
///
/// # Errors
/// No such process, not permitted, or it ended meanwhile.
pub fn of_pid(
    pid: Pid,
    options: &Options,
    notice: &mut dyn FnMut(&Notice),
) -> Result<HoldersResult, TakeError> {
    let target = inspect(pid)?;
    let result = of_process(&target, options, notice);
    // A process that ended was not read to the end, and why it cannot be read is no news.
    if result.is_err() && !target.is_alive() {
        return Err(TargetError::EndedMeanwhile { pid, comm: target.comm }.into());
    }
    Ok(HoldersResult { subject: subject(&target), result })
}

fn subject(target: &Target) -> Subject {
    Subject {
        pid: target.pid,
        comm: target.comm.to_string(),
        command: target.command.clone(),
        container: target.container.clone(),
        java_home: target.jvm.as_ref().and_then(|jvm| jvm.java_home.clone()),
        version: target.jvm.as_ref().and_then(|jvm| jvm.version.clone()),
        core: None,
    }
}

/// Looks at the process that a core file was written of.
///
/// # Errors
/// The file cannot be read, or is no core file of a process of this kind of machine.
pub fn of_core(path: &Path, options: &Options) -> Result<HoldersResult, TakeError> {
    let refused = |source| TakeError::Core { path: path.to_owned(), source };
    let core = Core::open(path).map_err(refused)?;
    let stored = core.stored_bytes().map_err(CoreError::Io).map_err(refused)?;
    let budget = ReadBudget::for_heap(stored);
    let core = Arc::new(core.within(&budget));
    let mut subject = Subject {
        pid: core.pid(),
        comm: core.comm().to_owned(),
        command: core.arguments().split_ascii_whitespace().map(str::to_owned).collect(),
        core: Some(path.to_owned()),
        ..Subject::default()
    };
    let result = look(&core, options, &mut subject.version);
    let result = budget.cut_short().map_or(result, |why| Err(HoldersError::Refused(why)));
    Ok(HoldersResult { subject, result })
}

/// Looks at the JVM of a core file, and notes its version.
fn look(core: &Arc<Core>, options: &Options, version: &mut Option<String>) -> Result<Holders, HoldersError> {
    let mappings = core.mappings();
    let libjvm = core.libjvm();
    let libjvm =
        libjvm.ok_or_else(|| HoldersError::NoJvm("no HotSpot JVM is in the core file".to_owned()))?;
    let hotspot = Hotspot::of_core(core, &libjvm).map_err(|error| match error {
        HotspotError::OtherLibrary(_) => HoldersError::Refused(error.to_string()),
        error => HoldersError::NotProved(error.to_string()),
    })?;
    *version = Some(hotspot.version().to_owned());
    let image = Image {
        memory: &**core,
        residency: &**core,
        mappings: &mappings,
        libjvm: &libjvm.path,
        threads: core.threads(),
    };
    of_image(&hotspot, &image, options)
}
