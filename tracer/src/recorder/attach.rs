//! The way from a target to attached probes, still switched off.

use std::{collections::BTreeSet, time::Instant};

use tracer_common::{config::Config, table::may_stop, unwind::MAX_FRAMES};

use super::{
    ErrorKind, Options, RecordError,
    expected::{self, ExpectedJvm},
    lifecycle,
    unwinder::Unwinder,
};
use crate::{
    ingest::{ring::RingSource, tables::Tables},
    probe::{
        ProbeError, btf,
        kernel::cpu_count,
        load::Sizes,
        mapping_calls::SeenAt,
        plan,
        probes::{ProbeSet, Probes},
        tracefs,
    },
    process::{
        Target,
        allocator::{self, Allocator},
        mapping::Mapping,
        memory::LiveMemory,
        root,
    },
    unwind::modules::ModuleTables,
};

/// Rows for libraries that are loaded later: twice libjvm's.
const SPARE_ROWS: usize = 400_000;
/// Slots for stack walks on each CPU: one, and three for tasks that preempt it.
const SLOTS_PER_CPU: u32 = 4;
/// Scratch slots of a machine with few CPUs: threads are preempted in the middle of walks there too.
const MIN_SLOTS: u32 = 16;

/// Places in the stacks' memo, each for the pieces of stacks that begin at one place: 4 × 768 bytes.
const MEMO_SETS: u32 = 2048;

/// Help where the kernel has no memory for the tables. A recorder of a small C program takes 127 MB of its group.
const MORE_MEMORY: &str = "more memory for tracer: if its control group has a limit, one of 256 MiB (/proc/self/cgroup \
                           names the group)";

/// Probes and tables of a target. Dropped, it is detached.
pub(super) struct Attached {
    pub(super) tables: Tables,
    pub(super) ring: RingSource,
    pub(super) unwinder: Unwinder,
    pub(super) probes: Probes,
    /// Paths of modules that have an allocator which they do not export, as far as it was said whether it is seen.
    pub(super) own_allocators: BTreeSet<String>,
    /// Is malloc watched?
    pub(super) watches_allocator: bool,
    /// The JVM that the target will probably become.
    pub(super) expected_jvm: Option<ExpectedJvm>,
}

impl Attached {
    /// Switches all probes on or off at once.
    ///
    /// # Errors
    /// The kernel refuses.
    pub(super) fn set_enabled(&mut self, enabled: bool) -> Result<(), RecordError> {
        let set = self.tables.set_enabled(enabled);
        set.map_err(|error| RecordError::caused(ErrorKind::Failed, &error))
    }
}

/// Loads the programs and attaches them to `target`; nothing is recorded yet. `is_ours`: it was started for this.
///
/// # Errors
/// The kernel refuses, or the target has no allocator that can be probed.
pub(super) fn attach(target: &Target, options: &Options, is_ours: bool) -> Result<Attached, RecordError> {
    if SeenAt::of_kernel() == SeenAt::Tracepoints {
        tracefs::ensure().map_err(|error| {
            RecordError::lacking(format!("cannot mount tracefs: {error}"))
                .with_help("mount -t tracefs tracefs /sys/kernel/tracing")
        })?;
    }
    let pid = target.pid;
    let memory = LiveMemory::open(pid)
        .map_err(|error| RecordError::lacking(format!("cannot read the memory of pid {pid}: {error}")))?;
    let mut found = allocator::find(target, Some(&memory));
    let own_allocators = found.own().map(|allocator| allocator.path.clone()).collect();
    let watches_allocator = options.probes == ProbeSet::Full;
    if watches_allocator && found.functions.is_empty() {
        return Err(RecordError::lacking(format!("no malloc was found in pid {pid} ({})", target.comm))
            .with_help(format!("tracer check -p {pid} -v")));
    }
    let begun = Instant::now();
    let phase = |what| tracing::debug!(elapsed_ms = begun.elapsed().as_millis() as u64, what);
    let mut modules = ModuleTables::new(u32::MAX as usize);
    let open = |mapping: &Mapping| root::mapped_file(pid, mapping).map(|(file, _)| file);
    modules.update(&target.mappings, open, &memory);
    let mut expected_jvm = None;
    for (file, path) in expected::libraries(target) {
        modules.expect(&file, &path);
        if target.jvm.is_none() {
            expected_jvm = expected_jvm.or_else(|| ExpectedJvm::of(&file, &path));
        }
    }

    phase("unwind tables compiled");
    let sizes = Sizes {
        row_count: u32::try_from(modules.rows().len() + SPARE_ROWS).unwrap_or(u32::MAX),
        ..Sizes::default()
    };
    let mut probes = Probes::load(pid, &config(target, options)?, sizes, options.probes).map_err(lacking)?;
    // Before the first probe: none is ever without it.
    probes.start_guard(is_ours.then_some(pid)).map_err(lacking)?;
    phase("programs loaded");
    let mut kernel = probes.unwind_tables().map_err(lacking)?;
    kernel.write_rows(0, modules.rows()).map_err(lacking)?;
    kernel.set_modules(modules.modules()).map_err(lacking)?;
    modules.set_row_capacity(kernel.row_capacity());
    let mut tables = Tables::take(&mut probes).map_err(lacking)?;
    tables.set_sampling(options.sample_bytes.unwrap_or(0)).map_err(|error| lacking(error.into()))?;
    let ring = RingSource::take(&mut probes).map_err(lacking)?;
    let unplaced = |error| match error {
        error @ ProbeError::Unplaced { .. } => lacking(error).with_help(format!("tracer check -p {pid} -v")),
        error => lacking(error),
    };
    if watches_allocator {
        probes.attach_allocator(plan::place_allocators(target, &mut found)).map_err(unplaced)?;
        found.allocators.iter().filter_map(Allocator::unseen).for_each(|sentence| probes.note(&sentence));
        phase("allocator probes attached");
    } else {
        probes.note(
            "light: malloc and its like were not watched; the allocator's rows are zlib's streams and the memory of \
             the JDK's Unsafe (direct buffers among it) alone",
        );
        lifecycle::watch(&mut probes, target).map_err(lacking)?;
        phase("lifecycle probes attached");
    }
    probes.attach_kernel().map_err(lacking)?;
    if is_ours {
        probes.attach_exit_points(target);
        tables.allow_stop(may_stop::AT_UNKNOWN_CODE).map_err(|error| lacking(error.into()))?;
    }
    if let Some(jvm) = &mut expected_jvm {
        jvm.attach(&mut probes);
    }
    phase("kernel probes attached");
    let unwinder = Unwinder::new(kernel, modules, memory);
    Ok(Attached { tables, ring, unwinder, probes, own_allocators, watches_allocator, expected_jvm })
}

/// # Errors
/// The kernel's types do not tell what the programs need.
fn config(target: &Target, options: &Options) -> Result<Config, RecordError> {
    let cpu_count = cpu_count().max(1);
    Ok(Config {
        tgid: target.pid.0,
        events: options.keeps_events.into(),
        min_size_bytes: options.min_size_bytes,
        slots_per_cpu: SLOTS_PER_CPU.max(MIN_SLOTS.div_ceil(cpu_count)),
        max_frames: MAX_FRAMES as u32,
        cpu_count,
        memo: options.memo.mode(),
        memo_sets: MEMO_SETS,
        kernel: btf::kernel_offsets()
            .map_err(|error| RecordError::caused(ErrorKind::Lacking, &error).with_help("tracer check"))?,
        ..Config::ZERO
    })
}

fn lacking(error: ProbeError) -> RecordError {
    let help = if error.is_out_of_memory() { MORE_MEMORY } else { "tracer check" };
    RecordError::caused(ErrorKind::Lacking, &error).with_help(help)
}
