//! `--push`: a process of its own that sends the recording at its end, because the recorder confines itself before.

use std::io::{self, Read, Write};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::{env, ffi::OsString};

use super::Args;
use crate::cli::failure::{Failure, status};
use crate::cli::push;

/// Bytes that no path exceeds.
const PATH_MAX_BYTES: u64 = 1 << 16;

/// The process that waits for the file's name.
pub(super) struct Pusher(Child);

impl Pusher {
    /// Starts it, once what can be checked now is right.
    ///
    /// # Errors
    /// The address is none, the headers cannot be read, or no process can be started.
    pub(super) fn start(url: &str, args: &Args) -> Result<Pusher, Failure> {
        push::check(url, args.push_header_file.as_deref())?;
        let failed = |error: io::Error| {
            Failure::new(status::FAILED, format!("--push: cannot start a process: {error}"))
        };
        let mut command = Command::new(env::current_exe().map_err(failed)?);
        command.args(["push", "--file-from-stdin", "--to", url]);
        if let Some(file) = &args.push_header_file {
            command.arg("--header-file").arg(file);
        }
        // Ctrl-C is not for it.
        command.stdin(Stdio::piped()).process_group(0);
        if args.quiet {
            command.stdout(Stdio::null());
        }
        command.spawn().map(Pusher).map_err(failed)
    }

    /// Has the file sent; what comes of it is told by the process. Returns false if it was not sent.
    pub(super) fn push(mut self, file: &Path) -> bool {
        let told =
            self.0.stdin.take().is_some_and(|mut stdin| stdin.write_all(file.as_os_str().as_bytes()).is_ok());
        told && self.0.wait().is_ok_and(|status| status.success())
    }
}

/// The name that the recorder gives. `None` if it ended without one.
pub(in crate::cli) fn file_from_stdin() -> Option<PathBuf> {
    let mut name = Vec::new();
    io::stdin().take(PATH_MAX_BYTES).read_to_end(&mut name).ok()?;
    (!name.is_empty()).then(|| OsString::from_vec(name).into())
}
