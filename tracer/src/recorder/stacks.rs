//! The way of a stack from the ring buffer into the recording: its walk is finished if code was unknown, its frames are
//! named, and it is written.

use tracer_common::{
    record::{MappingRecord, mapping_call},
    unwind::Stop,
};

use super::{
    RecordError,
    attach::Attached,
    jvm::JvmWatch,
    lifecycle,
    pending::PendingStacks,
    quality,
    symbolizer::{SymbolizedStack, SymbolizerThread},
};
use crate::{
    ingest::event::{Nmethod, Stack},
    process::{
        Pid, Target,
        mapping::{self, Mapping},
        module,
    },
    recording::Writer,
    session::Session,
};

const PROT_EXEC: u32 = 4;

/// Readings of the mappings in one go. The dynamic linker maps a library in pieces, one over the other, and a file that
/// is opened by the range where it was mapped cannot be opened when that was cut.
const READS_OF_MAPPINGS: u32 = 4;

/// See the module.
pub(super) struct StackPipeline {
    pid: Pid,
    jvm: JvmWatch,
    pending: PendingStacks,
    symbolizer: SymbolizerThread,
    /// Was something executable mapped that the unwinder does not know yet?
    modules_changed: bool,
}

impl StackPipeline {
    pub(super) fn new(target: &Target, symbolizer: SymbolizerThread) -> Self {
        Self {
            pid: target.pid,
            jvm: JvmWatch::new(target),
            pending: PendingStacks::default(),
            symbolizer,
            modules_changed: false,
        }
    }

    /// Opens the JVM that is there before the session, if it is ready.
    ///
    /// # Errors
    /// The kernel or the recording refuses.
    pub(super) fn meet_jvm(
        &mut self,
        attached: &mut Attached,
        session: &mut Session,
        writer: &mut Writer,
    ) -> Result<(), RecordError> {
        self.jvm.poll(attached, &self.symbolizer, session, writer)?;
        self.jvm.finish_attach(attached, writer)
    }

    /// Is there a JVM of which not everything was understood yet?
    pub(super) fn awaits_jvm(&self) -> bool {
        self.jvm.is_unsettled()
    }

    /// Is there a JVM that was not understood at all yet?
    pub(super) fn is_jvm_starting(&self) -> bool {
        self.jvm.is_starting()
    }

    /// Opens the JVM if it can be understood by now. Returns true if it was, and the stacks that waited for it are the
    /// next to be finished; [`Self::finish_meeting`] is still to be called.
    ///
    /// # Errors
    /// The kernel or the recording refuses.
    pub(super) fn poll_jvm(
        &mut self,
        attached: &mut Attached,
        session: &mut Session,
        writer: &mut Writer,
    ) -> Result<bool, RecordError> {
        let was_starting = self.jvm.is_starting();
        self.jvm.poll(attached, &self.symbolizer, session, writer)?;
        let is_met = was_starting && !self.jvm.is_starting();
        if is_met {
            self.release_awaiting_jvm();
        }
        Ok(is_met)
    }

    /// Finishes what takes time with a JVM that was opened.
    ///
    /// # Errors
    /// The kernel or the recording refuses.
    pub(super) fn finish_meeting(
        &mut self,
        attached: &mut Attached,
        writer: &mut Writer,
    ) -> Result<(), RecordError> {
        self.jvm.finish_attach(attached, writer)
    }

    /// Waits for no JVM any more: stacks that did end where they are.
    pub(super) fn give_up_jvm(&mut self, attached: &mut Attached) {
        self.jvm.give_up();
        self.release_awaiting_jvm();
        self.follow_modules(attached);
    }

    fn release_awaiting_jvm(&mut self) {
        self.pending.release_awaiting_jvm();
        self.modules_changed = true;
    }

    /// Takes in a new stack.
    pub(super) fn take(&mut self, stack: Stack) {
        self.modules_changed |= stack.stop == Stop::NoMapping as u32;
        if stack.rest.is_some() {
            self.pending.unfinished(stack);
        } else {
            self.symbolizer.symbolize(stack);
        }
    }

    /// The target called for a mapping.
    pub(super) fn mapped(&mut self, record: &MappingRecord) {
        let maps = matches!(record.call, mapping_call::MMAP | mapping_call::MPROTECT);
        self.modules_changed |= maps && record.protection & PROT_EXEC != 0;
    }

    /// The JVM installed code.
    pub(super) fn nmethod_loaded(&self, nmethod: Nmethod) {
        self.symbolizer.nmethod_loaded(nmethod);
    }

    /// Tells unwinder and symbolizer of libraries that were mapped since, and finishes the stacks that waited for that.
    pub(super) fn follow_modules(&mut self, attached: &mut Attached) {
        if !std::mem::take(&mut self.modules_changed) {
            return;
        }
        let mut mappings = mapping::read(self.pid).unwrap_or_default();
        for read in 1..=READS_OF_MAPPINGS {
            self.follow(attached, &mappings);
            let now = mapping::read(self.pid).unwrap_or_default();
            if now.is_empty() || code_in_files(&now).eq(code_in_files(&mappings)) {
                break;
            }
            mappings = now;
            self.modules_changed = read == READS_OF_MAPPINGS;
        }
        let Self { jvm, pending, symbolizer, .. } = self;
        let walk = |stack: &mut Stack, may_wait| attached.unwinder.finish(stack, &mappings, may_wait);
        pending.finish(jvm.is_starting(), walk, |stack| symbolizer.symbolize(stack));
    }

    /// Tells everyone of the modules among these mappings.
    fn follow(&mut self, attached: &mut Attached, mappings: &[Mapping]) {
        if mappings.is_empty() {
            return;
        }
        let awaits_jvm = self.jvm.is_awaited(mappings);
        let changed = attached.unwinder.follow(self.pid, mappings, awaits_jvm).unwrap_or_else(|error| {
            tracing::warn!("stacks through new libraries will end there: {error}");
            true
        });
        if changed {
            let modules = module::modules(self.pid, mappings);
            self.jvm.modules_changed(&modules);
            if let Err(error) = lifecycle::follow(&mut attached.probes, &modules) {
                tracing::warn!("memory that new libraries allocate is not seen: {error}");
            }
            self.symbolizer.set_modules(modules);
        }
    }

    /// Number of stacks that the kernel did not finish and that are complete now. Each is one allocation's alone.
    pub(super) fn completed_count(&self) -> u64 {
        self.pending.completed_count()
    }

    /// Writes the stacks that have their names by now.
    ///
    /// # Errors
    /// The recording cannot be written.
    pub(super) fn write(&self, writer: &mut Writer) -> Result<(), RecordError> {
        while let Some(stack) = self.symbolizer.try_next() {
            write_stack(writer, &stack)?;
        }
        Ok(())
    }

    /// Waits for the names of all stacks, and writes them.
    ///
    /// # Errors
    /// The recording cannot be written.
    pub(super) fn finish(self, writer: &mut Writer) -> Result<(), RecordError> {
        for stack in self.symbolizer.finish() {
            write_stack(writer, &stack)?;
        }
        Ok(())
    }
}

fn write_stack(writer: &mut Writer, stack: &SymbolizedStack) -> Result<(), RecordError> {
    let complete = stack.stop == Stop::Complete as u32;
    writer.stack(stack.id, &stack.frames, complete, quality::stop_name(stack.stop))?;
    Ok(())
}

/// Ranges of files' code, and the files.
fn code_in_files(mappings: &[Mapping]) -> impl Iterator<Item = (u64, u64, u64)> {
    let code = mappings.iter().filter(|mapping| mapping.executable && mapping.is_file());
    code.map(|mapping| (mapping.start, mapping.end, mapping.inode))
}
