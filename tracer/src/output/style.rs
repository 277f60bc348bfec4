//! Emphasis on terminals; everything reads as well without.

/// Writes escape sequences, or leaves text as it is.
#[derive(Clone, Copy)]
pub(super) struct Style {
    pub(super) color: bool,
}

impl Style {
    pub(super) fn bold(self, text: &str) -> String {
        self.around("1", text)
    }

    pub(super) fn dim(self, text: &str) -> String {
        self.around("2", text)
    }

    /// For what a person must not overlook.
    pub(super) fn warn(self, text: &str) -> String {
        self.around("1;33", text)
    }

    fn around(self, code: &str, text: &str) -> String {
        if self.color && !text.is_empty() { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
    }
}
