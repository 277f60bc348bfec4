//! From a target to attached probes, still switched off.

use std::time::Instant;

use tracer_common::{
    config::{Config, Jvm},
    table::may_halt,
    unwind::{MAX_FRAMES, Stop},
};

use super::{
    args::{self, Args},
    expected::{self, ExpectedJvm},
    held,
    meter::Meter,
};
use crate::{
    cli::failure::{Failure, status},
    ingest::{event::Stack, ring::RingSource, tables::Tables},
    probe::{
        ProbeError, btf,
        kernel::cpu_count,
        load::Sizes,
        probes::{ProbeSet, Probes},
        rows::UnwindTables,
        survey, tracefs,
    },
    process::{Target, allocator, mapping::Mapping, memory::LiveMemory, root},
    unwind::{modules::ModuleTables, resume},
};

/// Rows for libraries that are loaded later: twice libjvm's.
const SPARE_ROWS: usize = 400_000;
/// Slots for stack walks on each CPU: one, and three for tasks that preempt it.
const SLOTS_PER_CPU: u32 = 4;
/// Scratch slots of a machine with few CPUs: threads are preempted in the middle of walks there too.
const MIN_SLOTS: u32 = 16;

/// Places in the stacks' memo, each for the pieces of stacks that begin at one place: 4 × 768 bytes.
const MEMO_SETS: u32 = 2048;

/// Everything attached to a target. Dropped, it is detached.
pub(super) struct Attached {
    pub(super) tables: Tables,
    pub(super) ring: RingSource,
    pub(super) unwind: Unwind,
    pub(super) probes: Probes,
    /// The JVM that the target will probably become.
    pub(super) expected_jvm: Option<ExpectedJvm>,
    /// None: every allocation is recorded.
    pub(super) sample_bytes: Option<u32>,
    /// None: recording may take what it takes.
    pub(super) meter: Option<Meter>,
}

/// The unwinder's tables, on both sides.
pub(super) struct Unwind {
    kernel: UnwindTables,
    modules: ModuleTables,
    memory: LiveMemory,
    jvm: Jvm,
}

impl Unwind {
    /// Follows the target to `mappings`. True if anything changed. `awaits_jvm`: see
    /// [`ModuleTables::set_awaits_jvm`].
    ///
    /// # Errors
    /// There is no room for more rows, or a map operation failed.
    pub(super) fn follow(
        &mut self,
        pid: u32,
        mappings: &[Mapping],
        awaits_jvm: bool,
    ) -> Result<bool, ProbeError> {
        self.modules.set_awaits_jvm(awaits_jvm);
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

    /// Tells of the target's JVM.
    ///
    /// # Errors
    /// A map operation failed.
    pub(super) fn set_jvm(&mut self, jvm: Jvm) -> Result<(), ProbeError> {
        self.jvm = jvm;
        self.kernel.set_jvm(&jvm)
    }

    /// Lets stacks with Java frames be remembered: the JVM tells when it frees code and classes.
    ///
    /// # Errors
    /// A map operation failed.
    pub(super) fn keep_java(&mut self) -> Result<(), ProbeError> {
        self.kernel.keep_java()
    }

    /// Finishes the walk of `stack`, which the kernel gave up at code that it did not know.
    /// To be called after [`Self::follow`] with the same `mappings`.
    /// True: it is complete now. If `may_wait` and its code is still not known, nothing is changed:
    /// `stack.rest` is there to try again.
    pub(super) fn finish(&self, stack: &mut Stack, mappings: &[Mapping], may_wait: bool) -> bool {
        let Some(rest) = stack.rest.take() else {
            return false;
        };
        let walked = resume::resume(rest.state, &rest.bytes, mappings, &self.modules, self.jvm, &self.memory);
        match walked {
            Some(walked) if !may_wait || walked.stop != Stop::NoMapping => {
                resume::join(&mut stack.frames, walked.frames);
                stack.stop = walked.stop as u32;
            }
            _ if may_wait => stack.rest = Some(rest),
            _ => {}
        }
        stack.is_complete()
    }
}

/// Loads the programs and attaches them to `target`; nothing is recorded yet. `is_ours`: it was started for this.
///
/// # Errors
/// The kernel refuses, or the target has no allocator that can be probed.
pub(super) fn attach(target: &Target, args: &Args, is_ours: bool) -> Result<Attached, Failure> {
    tracefs::ensure().map_err(|error| {
        Failure::new(status::LACKING, format!("cannot mount tracefs: {error}"))
            .help("mount -t tracefs tracefs /sys/kernel/tracing")
    })?;
    let pid = target.pid;
    let memory = LiveMemory::open(pid).map_err(|error| {
        Failure::new(status::LACKING, format!("cannot read the memory of pid {pid}: {error}"))
    })?;
    let found = allocator::find(target, Some(&memory));
    let watches_allocator = args.probes == args::Probes::Full;
    if watches_allocator && found.functions.is_empty() {
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
    let set = if watches_allocator { ProbeSet::Full } else { ProbeSet::Light };
    let mut probes = Probes::load(pid, &config(target, args), sizes, set).map_err(lacking)?;
    phase("programs loaded");
    let mut kernel = probes.unwind_tables().map_err(lacking)?;
    kernel.write_rows(0, modules.rows()).map_err(lacking)?;
    kernel.set_modules(modules.modules()).map_err(lacking)?;
    modules.set_row_capacity(kernel.row_capacity());
    let mut tables = Tables::take(&mut probes).map_err(lacking)?;
    tables.set_sampling(args.sample_bytes.unwrap_or(0)).map_err(|error| lacking(error.into()))?;
    let ring = RingSource::take(&mut probes).map_err(lacking)?;
    let unplaced = |error| match error {
        error @ ProbeError::Unplaced { .. } => lacking(error).help(format!("tracer check -p {pid} -v")),
        error => lacking(error),
    };
    if watches_allocator {
        probes.attach_allocator(survey::place(target, found.functions)).map_err(unplaced)?;
        phase("allocator probes attached");
    } else {
        probes.note(
            "light: malloc and its like were not watched; the allocator's rows are zlib's streams and the memory of \
             the JDK's Unsafe (direct buffers among it) alone",
        );
        held::watch(&mut probes, target).map_err(lacking)?;
        phase("probes on what is held attached");
    }
    probes.attach_tracepoints().map_err(lacking)?;
    if is_ours {
        probes.attach_leaving(target);
        tables.allow_halt(may_halt::AT_UNKNOWN_CODE).map_err(|error| lacking(error.into()))?;
    }
    if let Some(jvm) = &mut expected_jvm {
        jvm.attach(&mut probes);
    }
    phase("tracepoints attached");
    let meter = args.max_overhead().and_then(|percent| {
        Meter::new(pid, percent, args.level())
            .inspect_err(|error| {
                let text = format!(
                    "--max-overhead is not kept to: what recording takes cannot be measured: {error}"
                );
                tracing::warn!("{text}");
                probes.note(&text);
            })
            .ok()
    });
    phase("traps measured");
    let unwind = Unwind { kernel, modules, memory, jvm: Jvm::ZERO };
    Ok(Attached { tables, ring, unwind, probes, expected_jvm, sample_bytes: args.sample_bytes, meter })
}

fn config(target: &Target, args: &Args) -> Config {
    let cpu_count = cpu_count().max(1);
    let mut config = Config {
        tgid: target.pid,
        events: args.events.into(),
        min_size_bytes: args.min_size,
        slots_per_cpu: SLOTS_PER_CPU.max(MIN_SLOTS.div_ceil(cpu_count)),
        max_frames: MAX_FRAMES as u32,
        cpu_count,
        memo: args.memo.mode(),
        memo_sets: MEMO_SETS,
        ..Config::ZERO
    };
    match btf::kernel_offsets() {
        Ok(offsets) => config.kernel = offsets,
        Err(error) => tracing::warn!("stacks below another tool's return probes will end there: {error}"),
    }
    config
}

fn lacking(error: ProbeError) -> Failure {
    Failure::caused(status::LACKING, &error).help("tracer check")
}
