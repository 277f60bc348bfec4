//! From a target to attached probes, still switched off.

use std::time::Instant;

use aya::{
    Ebpf,
    maps::{Array, MapData, RingBuf},
};
use tracer_common::{config::Config, table::UsdtSpec, unwind::MAX_FRAMES};

use super::args::Args;
use crate::{
    cli::failure::{Failure, status},
    ingest::{ring::RingSource, tables::Tables},
    probe::{
        ProbeError,
        attach::{self, UprobePoint},
        btf, load,
        log::BpfLog,
        plan,
        rows::UnwindTables,
        survey, tracefs,
    },
    target::{Module, Target, allocator, mapping::Mapping, memory::LiveMemory, root, usdt},
    unwind::modules::ModuleTables,
};

/// Rows for libraries that are loaded later: twice libjvm's.
const SPARE_ROWS: usize = 400_000;
/// Slots for stack walks on each CPU: one, and three for tasks that preempt it.
const SLOTS_PER_CPU: u32 = 4;

/// Everything attached to a target. Dropped, it is detached.
pub(super) struct Attached {
    pub(super) tables: Tables,
    pub(super) ring: RingSource,
    pub(super) unwind: Unwind,
    pub(super) probe_count: usize,
    /// What will not be seen, for the report.
    pub(super) notes: Vec<String>,
    usdt_specs: Array<MapData, UsdtSpec>,
    log: Option<BpfLog>,
    pid: u32,
    ebpf: Ebpf,
}

/// The unwinder's tables, on both sides.
pub(super) struct Unwind {
    pub(super) kernel: UnwindTables,
    modules: ModuleTables,
    memory: LiveMemory,
}

impl Unwind {
    /// Follows the target to `mappings`. True if anything changed.
    ///
    /// # Errors
    /// There is no room for more rows, or a map operation failed.
    pub(super) fn follow(&mut self, pid: u32, mappings: &[Mapping]) -> Result<bool, ProbeError> {
        let open = |mapping: &Mapping| root::mapped_file(pid, mapping).map(|(file, _)| file);
        let update = self.modules.update(mappings, open, &self.memory);
        if let Some(rows) = self.modules.rows().get(update.new_rows.clone()) {
            self.kernel.write_rows(update.new_rows.start, rows)?;
        }
        if update.modules_changed {
            self.kernel.set_modules(self.modules.modules())?;
        }
        Ok(update.modules_changed)
    }
}

/// Loads the programs and attaches them to `target`; nothing is recorded yet.
///
/// # Errors
/// The kernel refuses, or the target has no allocator that can be probed.
pub(super) fn attach(target: &Target, args: &Args) -> Result<Attached, Failure> {
    tracefs::ensure().map_err(|error| {
        Failure::new(status::LACKING, format!("cannot mount tracefs: {error}"))
            .help("mount -t tracefs tracefs /sys/kernel/tracing")
    })?;
    let pid = target.pid;
    let memory = LiveMemory::open(pid).map_err(|error| {
        Failure::new(status::LACKING, format!("cannot read the memory of pid {pid}: {error}"))
    })?;
    let found = allocator::find(target, Some(&memory));
    if found.functions.is_empty() {
        return Err(Failure::new(
            status::LACKING,
            format!("no malloc was found in pid {pid} ({})", target.comm),
        )
        .help(format!("tracer check -p {pid} -v")));
    }
    let begun = Instant::now();
    let phase = |what| tracing::debug!(elapsed_ms = begun.elapsed().as_millis() as u64, what);
    let mut modules = ModuleTables::new(u32::MAX as usize);
    let open = |mapping: &Mapping| root::mapped_file(pid, mapping).map(|(file, _)| file);
    modules.update(&target.mappings, open, &memory);

    phase("unwind tables compiled");
    let sizes = load::Sizes {
        row_count: u32::try_from(modules.rows().len() + SPARE_ROWS).unwrap_or(u32::MAX),
        ..load::Sizes::default()
    };
    let mut ebpf = load::load(&config(target, args), sizes).map_err(lacking)?;
    phase("programs loaded");
    let log = BpfLog::open(&mut ebpf);
    let mut kernel = UnwindTables::take(&mut ebpf).map_err(lacking)?;
    kernel.write_rows(0, modules.rows()).map_err(lacking)?;
    kernel.set_modules(modules.modules()).map_err(lacking)?;

    let tables = Tables::take(&mut ebpf).map_err(|error| Failure::caused(status::LACKING, &error))?;
    let ring = ebpf.take_map("EVENTS").ok_or(ProbeError::MissingMap("EVENTS")).map_err(lacking)?;
    let ring = RingBuf::try_from(ring).map_err(|error| Failure::caused(status::LACKING, &error))?;
    let specs = ebpf.take_map("USDT_SPECS").ok_or(ProbeError::MissingMap("USDT_SPECS")).map_err(lacking)?;
    let usdt_specs = Array::try_from(specs).map_err(|error| Failure::caused(status::LACKING, &error))?;
    let mut attached = Attached {
        tables,
        ring: RingSource::new(ring),
        unwind: Unwind { kernel, modules, memory },
        probe_count: 0,
        notes: Vec::new(),
        usdt_specs,
        log,
        pid,
        ebpf,
    };
    for surveyed in survey::place(target, found.functions) {
        let is_essential = surveyed.is_essential();
        let function = &surveyed.function;
        match surveyed.placement {
            Ok(place) => {
                for point in plan::allocator_points(function, place.file_offset) {
                    attached.uprobe(&point).map_err(lacking)?;
                }
            }
            Err(error) if is_essential => {
                let what = format!("cannot probe {} of {}: {error}", function.function.name(), function.path);
                return Err(Failure::new(status::LACKING, what).help(format!("tracer check -p {pid} -v")));
            }
            Err(error) => attached.notes.push(format!(
                "{} of {} is not seen: {error}",
                function.function.name(),
                function.path
            )),
        }
    }
    phase("allocator probes attached");
    attach::tracepoints(&mut attached.ebpf).map_err(lacking)?;
    attached.probe_count += attach::TRACEPOINTS.len();
    phase("tracepoints attached");
    Ok(attached)
}

impl Attached {
    fn uprobe(&mut self, point: &UprobePoint) -> Result<(), ProbeError> {
        attach::uprobe(&mut self.ebpf, self.pid, point)?;
        self.probe_count += 1;
        Ok(())
    }

    /// Passes on what the BPF programs say of themselves.
    pub(super) fn flush_log(&mut self) {
        if let Some(log) = &mut self.log {
            log.flush();
        }
    }

    /// Attaches to HotSpot's own probe points. A build without them is traced without GC marks and
    /// early names. True if collections will be seen.
    pub(super) fn usdt(&mut self, libjvm: &Module) -> bool {
        let probes = match libjvm.elf().and_then(|elf| usdt::read(&elf)) {
            Ok(probes) => probes,
            Err(error) => {
                tracing::debug!(%error, path = libjvm.path, "no USDT probes");
                return false;
            }
        };
        let mut sees_collections = false;
        for (index, (point, spec)) in plan::usdt_points(libjvm, &probes).into_iter().enumerate() {
            let set = self.usdt_specs.set(index as u32, spec, 0).map_err(ProbeError::from);
            match set.and_then(|()| self.uprobe(&point)) {
                Ok(()) => sees_collections |= point.program == "gc_end",
                Err(error) => tracing::debug!(%error, "USDT probe left out"),
            }
        }
        sees_collections
    }
}

fn config(target: &Target, args: &Args) -> Config {
    let mut config = Config {
        tgid: target.pid,
        events: args.events.into(),
        min_size_bytes: args.min_size,
        slots_per_cpu: SLOTS_PER_CPU,
        max_frames: MAX_FRAMES as u32,
        cpu_count: aya::util::nr_cpus().map_or(1, |count| count as u32),
        ..Config::ZERO
    };
    match btf::KernelOffsets::read() {
        Ok(offsets) => offsets.configure(&mut config),
        Err(error) => tracing::warn!("stacks below another tool's return probes will end there: {error}"),
    }
    config
}

fn lacking(error: ProbeError) -> Failure {
    Failure::caused(status::LACKING, &error).help("tracer check")
}
