//! Memory behind a few rare calls: which libraries are watched, and what their streams grew to.

use std::{fs::File, path::PathBuf};

use super::expected;
use crate::{
    probe::{ProbeError, probes::Probes},
    process::{
        Module, Target,
        elf::{Elf, ElfError},
        lifecycle, module,
    },
};

/// Sets the probes of `--probes light`: page faults, and the libraries that `target` has mapped, or will probably
/// load. May be called while a recording of the allocator is under way.
///
/// # Errors
/// The kernel refuses a program.
pub(super) fn watch(probes: &mut Probes, target: &Target) -> Result<(), ProbeError> {
    probes.attach_faults()?;
    for (path, file) in mapped(&target.modules) {
        probes.attach_lifecycle(path, &file)?;
    }
    let mut expected = expected::libraries(target);
    expected.retain(|(_, path)| lifecycle::may_define(module::file_name(path)));
    // A JDK with a zlib of its own will hardly load the system's.
    let calls_zlib = |(file, _): &(File, String)| {
        file.try_clone()
            .map_err(ElfError::from)
            .and_then(Elf::read)
            .is_ok_and(|elf| lifecycle::calls_zlib(&elf))
    };
    let wants_zlib = expected.iter().any(calls_zlib);
    for (file, path) in &expected {
        if wants_zlib || !lifecycle::is_zlib(module::file_name(path)) {
            probes.attach_lifecycle(path, &expected::opened_path(file))?;
        }
    }
    Ok(())
}

/// Does the same for libraries that were mapped since. One that was not expected is noted: what it held before is
/// not known.
///
/// # Errors
/// As for [`watch`].
pub(super) fn follow(probes: &mut Probes, modules: &[Module]) -> Result<(), ProbeError> {
    if !probes.watches_lifecycle() || probes.is_detached() {
        return Ok(());
    }
    for (path, file) in mapped(modules) {
        if probes.attach_lifecycle(path, &file)? {
            probes.note(&format!(
                "light: {path} was loaded in the session, and not expected: what it held in its first moments is not counted"
            ));
        }
    }
    Ok(())
}

fn mapped(modules: &[Module]) -> impl Iterator<Item = (&str, PathBuf)> {
    let can_hold = modules.iter().filter(|module| lifecycle::may_define(module.name()));
    can_hold.map(|module| (module.path.as_str(), module.file.clone()))
}
