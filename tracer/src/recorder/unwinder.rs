//! The unwinder's tables, in the kernel and here: kept up with the target's modules and JVM, and used to finish walks
//! that the kernel gave up.

use tracer_common::{config::Jvm, unwind::Stop};

use crate::{
    ingest::event::Stack,
    probe::{ProbeError, rows::UnwindTables},
    process::{Pid, mapping::Mapping, memory::LiveMemory, root},
    unwind::{modules::ModuleTables, resume},
};

/// See the module.
pub(super) struct Unwinder {
    kernel: UnwindTables,
    modules: ModuleTables,
    memory: LiveMemory,
    jvm: Jvm,
}

impl Unwinder {
    /// An unwinder with the target's `modules`, whose rows are in `kernel` by now.
    pub(super) fn new(kernel: UnwindTables, modules: ModuleTables, memory: LiveMemory) -> Self {
        Self { kernel, modules, memory, jvm: Jvm::ZERO }
    }

    /// Follows the target to `mappings`. Returns true if anything changed. `awaits_jvm`: see
    /// [`ModuleTables::set_awaits_jvm`].
    ///
    /// # Errors
    /// There is no room for more rows, or a map operation failed.
    pub(super) fn follow(
        &mut self,
        pid: Pid,
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
    /// Returns true if it is complete now. If `may_wait` and its code is still not known, nothing is changed:
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
