//! Writing results: whole, to stdout, with nothing of the target's that could steer a terminal.

use std::io::{self, Write};

use crate::cli::failure::{Failure, status};

/// Writes `text` to stdout. A reader that closed it has seen enough: that is no error.
///
/// # Errors
/// Stdout cannot be written (a full disk, say).
pub fn print(text: &str) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(Failure::new(status::FAILED, format!("cannot write to stdout: {error}")))
        }
        _ => Ok(()),
    }
}

/// `text` with every control character replaced: names of processes and files are the target's.
pub fn printable(text: &str) -> String {
    text.chars().map(|char| if char.is_control() { '\u{fffd}' } else { char }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escapes_do_not_reach_the_terminal() {
        assert_eq!(printable("a\u{1b}[31m\nb\u{9b}é"), "a\u{fffd}[31m\u{fffd}b\u{fffd}é");
    }
}
