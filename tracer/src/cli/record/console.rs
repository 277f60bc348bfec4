//! Stderr of `tracer record`: lines, and on a terminal a status line that leaves no trace.
//!
//! Nothing here fails: a recording does not end because nobody can be told of it.

use std::{
    io::{self, IsTerminal, Write},
    os::fd::AsRawFd,
    sync::{Mutex, PoisonError},
};

use crate::output::clean;

/// Erases from the cursor to the end of the line (ECMA-48).
const ERASE_LINE: &str = "\x1b[K";
/// Erases from the cursor to the end of the screen.
const ERASE_BELOW: &str = "\x1b[J";
/// Columns of a terminal that does not tell.
const COLUMNS: usize = 80;

/// See the module.
pub(super) struct Console {
    shows_status: bool,
    /// Is a status line shown now?
    is_shown: Mutex<bool>,
}

impl Default for Console {
    fn default() -> Self {
        Self::new(false)
    }
}

impl Console {
    /// A console with a status line, if stderr is a terminal that can do it and it is wanted.
    pub(super) fn new(wants_status: bool) -> Self {
        let is_able = std::env::var("TERM").is_ok_and(|term| !term.is_empty() && term != "dumb");
        Self {
            shows_status: wants_status && is_able && io::stderr().is_terminal(),
            is_shown: Mutex::new(false),
        }
    }

    /// Writes lines, in place of the status line.
    pub(super) fn line(&self, text: &str) {
        self.clear();
        let _ = writeln!(io::stderr(), "{text}");
    }

    /// Shows `text` until something else is shown.
    pub(super) fn status(&self, text: &str) {
        if !self.shows_status {
            return;
        }
        let mut is_shown = self.is_shown.lock().unwrap_or_else(PoisonError::into_inner);
        // The last column would move the cursor to the next line.
        let text: String = clean(text).chars().take(columns().saturating_sub(1)).collect();
        // The cursor waits at the line's start: if the terminal gets narrower, and breaks the line into several, all of
        // them are behind it.
        let before = if *is_shown { ERASE_BELOW } else { "" };
        let _ = write!(io::stderr(), "\r{before}{text}{ERASE_LINE}\r");
        *is_shown = true;
    }

    /// Takes the status line away.
    pub(super) fn clear(&self) {
        let mut is_shown = self.is_shown.lock().unwrap_or_else(PoisonError::into_inner);
        if std::mem::take(&mut *is_shown) {
            let _ = write!(io::stderr(), "\r{ERASE_BELOW}");
        }
    }
}

/// Columns of the terminal, as they are now.
fn columns() -> usize {
    let mut size = libc::winsize { ws_row: 0, ws_col: 0, ws_xpixel: 0, ws_ypixel: 0 };
    // SAFETY: the request writes a `winsize`, and that is what it is given.
    let told = unsafe { libc::ioctl(io::stderr().as_raw_fd(), libc::TIOCGWINSZ, &raw mut size) };
    match size.ws_col {
        columns @ 1.. if told == 0 => columns.into(),
        _ => COLUMNS,
    }
}
