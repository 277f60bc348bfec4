//! The file that a report is written to: whole or not at all.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufWriter, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, RenameFlags, renameat_with};
use rustix::io::Errno;

use crate::cli::failure::{Failure, status};
use crate::process::Pid;

/// A file under a temporary name beside its own. Dropped without [`OutputFile::write`], it is gone.
pub(super) struct OutputFile {
    path: PathBuf,
    force: bool,
    /// `None` if what is at `path` is no plain file (a pipe, /dev/null), and is written to as it is.
    temporary: Option<PathBuf>,
    file: Option<File>,
}

impl OutputFile {
    /// Opens the file; an existing one stays until the report is whole.
    ///
    /// # Errors
    /// It exists and not `force`, or cannot be written.
    pub(super) fn create(path: &Path, force: bool) -> Result<OutputFile, Failure> {
        let failed = |error: io::Error| cannot_write(path, &error);
        match fs::metadata(path) {
            Ok(meta) if meta.is_file() && !force => return Err(exists(path)),
            Ok(meta) if meta.is_dir() => {
                return Err(Failure::new(status::FAILED, format!("{} is a folder", path.display()))
                    .help("name a file in it, with -o FOLDER/OUT"));
            }
            Ok(meta) if !meta.is_file() => {
                let file = OpenOptions::new().write(true).open(path).map_err(failed)?;
                return Ok(OutputFile { path: path.to_owned(), force, temporary: None, file: Some(file) });
            }
            _ => {}
        }
        let name = path.file_name().ok_or_else(|| cannot_write(path, &io::ErrorKind::IsADirectory.into()))?;
        let temporary = path.with_file_name(format!(".{}.{}.new", name.to_string_lossy(), Pid::own()));
        // Left by a process of the same pid that was killed.
        let _ = fs::remove_file(&temporary);
        let file =
            OpenOptions::new().write(true).create_new(true).mode(0o644).open(&temporary).map_err(failed)?;
        Ok(OutputFile { path: path.to_owned(), force, temporary: Some(temporary), file: Some(file) })
    }

    /// Writes the report, and gives the file its name.
    ///
    /// # Errors
    /// Writing failed (then nothing is left), or the file exists by now.
    pub(super) fn write(mut self, render: impl Fn(&mut dyn Write) -> io::Result<()>) -> Result<(), Failure> {
        let failed = |error: &io::Error| cannot_write(&self.path, error);
        if let Some(file) = self.file.take() {
            let mut out = BufWriter::new(file);
            let done = render(&mut out).and_then(|()| out.flush());
            match done {
                // A pipe's reader that has seen enough.
                Err(error) if error.kind() == io::ErrorKind::BrokenPipe && self.temporary.is_none() => {}
                done => done.map_err(|error| failed(&error))?,
            }
        }
        let Some(temporary) = self.temporary.take() else { return Ok(()) };
        let named =
            if self.force { fs::rename(&temporary, &self.path) } else { rename_new(&temporary, &self.path) };
        named.map_err(|error| {
            let _ = fs::remove_file(&temporary);
            if error.kind() == io::ErrorKind::AlreadyExists { exists(&self.path) } else { failed(&error) }
        })
    }
}

impl Drop for OutputFile {
    fn drop(&mut self) {
        if let Some(temporary) = &self.temporary {
            let _ = fs::remove_file(temporary);
        }
    }
}

/// Renames, but never over another file that came meanwhile.
fn rename_new(from: &Path, to: &Path) -> io::Result<()> {
    match renameat_with(CWD, from, CWD, to, RenameFlags::NOREPLACE) {
        // Some file systems cannot do this in one step.
        Err(Errno::INVAL | Errno::NOSYS) => {
            if fs::symlink_metadata(to).is_ok() {
                return Err(io::ErrorKind::AlreadyExists.into());
            }
            fs::rename(from, to)
        }
        done => Ok(done?),
    }
}

fn exists(path: &Path) -> Failure {
    Failure::new(status::FAILED, format!("{} exists already", path.display()))
        .help("choose another file with -o OUT, or replace it with --force")
}

fn cannot_write(path: &Path, error: &io::Error) -> Failure {
    Failure::new(status::FAILED, format!("cannot write {}: {error}", path.display()))
        .help("choose a file in a folder that you can write, with -o OUT")
}
