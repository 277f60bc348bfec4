//! The terminal's ways: emphasis, without which everything reads as well, and its width.

/// Columns where there is no terminal.
pub(super) const WIDTH: usize = 80;
/// Narrower is taken for this.
const LEAST_WIDTH: usize = 30;

/// Writes escape sequences, or leaves text as it is.
#[derive(Clone, Copy)]
pub(super) struct Style {
    pub(super) color: bool,
    /// Columns of a line at most.
    pub(super) width: usize,
}

impl Style {
    /// `width`: columns of the terminal; 0: there is none.
    pub(super) fn new(color: bool, width: usize) -> Style {
        Style { color, width: if width == 0 { WIDTH } else { width.max(LEAST_WIDTH) } }
    }

    /// The same for lines of any length.
    pub(super) fn unbounded(self) -> Style {
        Style { width: usize::MAX, ..self }
    }

    /// The same without emphasis.
    pub(super) fn plain(self) -> Style {
        Style { color: false, ..self }
    }

    pub(super) fn bold(self, text: &str) -> String {
        self.around("1", text)
    }

    pub(super) fn dim(self, text: &str) -> String {
        self.around("2", text)
    }

    /// Marks text that a person must not overlook.
    pub(super) fn warn(self, text: &str) -> String {
        self.around("1;33", text)
    }

    fn around(self, code: &str, text: &str) -> String {
        if self.color && !text.is_empty() { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
    }
}
