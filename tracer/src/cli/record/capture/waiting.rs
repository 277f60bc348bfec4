//! Stacks that cannot be walked to their end yet: through a library that was mapped a moment ago, or
//! through code of a JVM that does not describe itself yet.

use super::Capture;
use crate::cli::record::held;
use crate::{
    ingest::event::Stack,
    process::{
        mapping::{self, Mapping},
        module,
    },
};

/// Copies of stacks that wait until the JVM is understood, at most. Those that come later end where they are.
const MAX_HELD_BYTES: usize = 64 << 20;

/// How often the mappings are looked at in one go. The dynamic linker maps a library in pieces, one over
/// the other, and a file that is opened by the range where it was mapped cannot be opened when that was cut.
const LOOKS: u32 = 4;

/// Stacks that wait.
#[derive(Default)]
pub(super) struct Waiting {
    /// Something executable was mapped that the unwinder does not know yet.
    pub(super) modules_changed: bool,
    /// Their walk met such a module.
    pub(super) unfinished: Vec<Stack>,
    /// They go through code of a JVM that is not understood yet.
    held: Vec<Stack>,
    held_bytes: usize,
    /// How many are complete now. Each is one allocation's alone.
    pub(super) completed_count: u64,
}

impl Capture {
    /// Makes the stacks that wait for the JVM the next to be finished.
    pub(super) fn release_held(&mut self) {
        self.waiting.unfinished.append(&mut self.waiting.held);
        self.waiting.held_bytes = 0;
        self.waiting.modules_changed = true;
    }

    /// Tells unwinder and symbolizer of libraries that were mapped since, and finishes the stacks that
    /// waited for that.
    pub(super) fn follow_modules(&mut self) {
        if !std::mem::take(&mut self.waiting.modules_changed) {
            return;
        }
        let mut mappings = mapping::read(self.pid).unwrap_or_default();
        for look in 1..=LOOKS {
            self.follow(&mappings);
            let now = mapping::read(self.pid).unwrap_or_default();
            if now.is_empty() || code_in_files(&now).eq(code_in_files(&mappings)) {
                break;
            }
            mappings = now;
            self.waiting.modules_changed = look == LOOKS;
        }
        for mut stack in self.waiting.unfinished.drain(..) {
            let may_wait = self.jvm.is_starting() && self.waiting.held_bytes < MAX_HELD_BYTES;
            self.waiting.completed_count +=
                u64::from(self.attached.unwind.finish(&mut stack, &mappings, may_wait));
            match &stack.rest {
                Some(rest) => {
                    self.waiting.held_bytes += rest.bytes.len();
                    self.waiting.held.push(stack);
                }
                None => self.resolver.resolve(stack),
            }
        }
    }

    /// Tells everyone of the modules among these mappings.
    fn follow(&mut self, mappings: &[Mapping]) {
        if mappings.is_empty() {
            return;
        }
        let awaits_jvm = self.jvm.is_awaited(mappings);
        let changed = self.attached.unwind.follow(self.pid, mappings, awaits_jvm).unwrap_or_else(|error| {
            tracing::warn!("stacks through new libraries will end there: {error}");
            true
        });
        if changed {
            let modules = module::modules(self.pid, mappings);
            self.jvm.modules_changed(&modules);
            if let Err(error) = held::follow(&mut self.attached.probes, &modules) {
                tracing::warn!("what new libraries hold is not seen: {error}");
            }
            self.resolver.set_modules(modules);
        }
    }
}

/// Where there is code of files, and of which.
fn code_in_files(mappings: &[Mapping]) -> impl Iterator<Item = (u64, u64, u64)> {
    let code = mappings.iter().filter(|mapping| mapping.executable && mapping.is_file());
    code.map(|mapping| (mapping.start, mapping.end, mapping.inode))
}
