//! What is held behind a few rare calls: which libraries are watched, and what their streams grew to.

use std::{collections::HashMap, fs::File, io, path::PathBuf};

use tracer_common::{
    table::{Allocation, key},
    zlib,
};

use super::expected;
use crate::{
    ingest::tables::Tables,
    probe::{ProbeError, probes::Probes},
    process::{
        Module, Target,
        elf::{Elf, ElfError},
        held,
        memory::{LiveMemory, ProcessMemory},
        module,
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
        probes.attach_held(path, &file)?;
    }
    let mut expected = expected::libraries(target);
    expected.retain(|(_, path)| held::may_hold(module::file_name(path)));
    // A JDK with a zlib of its own will hardly load the system's.
    let calls_zlib = |(file, _): &(File, String)| {
        file.try_clone().map_err(ElfError::from).and_then(Elf::read).is_ok_and(|elf| held::calls_zlib(&elf))
    };
    let wants_zlib = expected.iter().any(calls_zlib);
    for (file, path) in &expected {
        if wants_zlib || !held::is_zlib(module::file_name(path)) {
            probes.attach_held(path, &expected::opened_path(file))?;
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
    if !probes.watches_held() || probes.is_detached() {
        return Ok(());
    }
    for (path, file) in mapped(modules) {
        if probes.attach_held(path, &file)? {
            probes.note(&format!(
                "light: {path} was loaded in the session, and not expected: what it held in its first moments is not counted"
            ));
        }
    }
    Ok(())
}

fn mapped(modules: &[Module]) -> impl Iterator<Item = (&str, PathBuf)> {
    let can_hold = modules.iter().filter(|module| held::may_hold(module.name()));
    can_hold.map(|module| (module.path.as_str(), module.file.clone()))
}

/// What inflaters that are live have grown by: an inflater gets its window when it is first used, without a call
/// that is watched. The kernel side adds it when a stream ends.
pub(super) struct Windows {
    pid: u32,
    streams: HashMap<u64, Stream>,
}

/// A live inflater.
struct Stream {
    /// With its address, it is this one.
    born_ns: u64,
    window_bytes: u64,
    /// When it is looked at again. The longer it was not used, the less often.
    due_ns: u64,
    /// Its memory was read, whatever was there.
    looked_at: bool,
    seen: bool,
}

/// Streams without a window that are looked at in one go.
const MAX_LOOKS: usize = 10_000;

impl Windows {
    /// Of process `pid`.
    pub(super) fn new(pid: u32) -> Self {
        Self { pid, streams: HashMap::new() }
    }

    /// The bytes of the windows of a live stream.
    pub(super) fn of(&self, address: u64, allocation: &Allocation) -> u64 {
        let stream = self.streams.get(&address).filter(|stream| stream.born_ns == allocation.time_ns);
        stream.map_or(0, |stream| stream.window_bytes)
    }

    /// Live streams that nobody ever looked at, in a sentence: the process was gone too soon.
    pub(super) fn unseen(&self) -> Option<String> {
        let count = self.streams.values().filter(|stream| !stream.looked_at).count();
        (count > 0).then(|| {
            format!(
                "light: the process ended before {count} of its live inflate streams were looked at: they are counted \
                 without a window, which has 32 KiB for most"
            )
        })
    }

    /// Looks which live streams have their window by now, all of them at the end; gives the bytes by stack.
    ///
    /// # Errors
    /// The table cannot be read.
    pub(super) fn look(
        &mut self,
        tables: &Tables,
        now_ns: u64,
        is_end: bool,
    ) -> io::Result<HashMap<u64, u64>> {
        let memory = LiveMemory::open(self.pid).ok();
        let mut looks = if is_end { usize::MAX } else { MAX_LOOKS };
        let mut by_stack: HashMap<u64, u64> = HashMap::new();
        tables.for_each_live(|address, stack, allocation| {
            if address & key::INFLATE == 0 {
                return;
            }
            let born_ns = allocation.time_ns;
            let fresh = || Stream { born_ns, window_bytes: 0, due_ns: 0, looked_at: false, seen: true };
            let stream = self.streams.entry(address).or_insert_with(fresh);
            if stream.born_ns != born_ns {
                *stream = fresh();
            }
            stream.seen = true;
            if stream.window_bytes == 0
                && looks > 0
                && (is_end || stream.due_ns <= now_ns)
                && let Some(memory) = &memory
            {
                looks -= 1;
                let address = address & key::ADDRESS;
                stream.looked_at |= memory.read_u64(address).is_ok();
                stream.window_bytes = zlib::window_bytes(address, |address| memory.read_u64(address).ok());
                stream.due_ns = now_ns.saturating_add(now_ns.saturating_sub(born_ns));
            }
            if stream.window_bytes > 0 {
                *by_stack.entry(stack).or_default() += stream.window_bytes;
            }
        })?;
        self.streams.retain(|_, stream| std::mem::take(&mut stream.seen));
        Ok(by_stack)
    }
}
