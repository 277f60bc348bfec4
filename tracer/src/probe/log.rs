//! The BPF programs' own messages, which debug builds of them have.

use aya::Ebpf;
use aya_log::EbpfLogger;

/// The messages, passed on to this process's log.
pub struct BpfLog {
    logger: EbpfLogger<&'static dyn log::Log>,
}

impl BpfLog {
    /// The log of the loaded programs; `None` if they have none.
    pub fn open(ebpf: &mut Ebpf) -> Option<Self> {
        Some(Self { logger: EbpfLogger::init(ebpf).ok()? })
    }

    /// Passes on what there is by now.
    pub fn flush(&mut self) {
        self.logger.flush();
    }
}
