//! Placing a recording's file: it is made under another name, and has its own once it is whole. A new one never takes
//! another's place by accident, and an old one that is to be replaced stays whole until the session really runs.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, fchown};
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, FlockOperation, RenameFlags, flock, renameat_with};
use rustix::io::Errno;

use super::WriteError;

/// File that is written, and where it will be.
pub(super) struct PendingFile {
    /// The file's final, absolute path.
    pub(super) path: PathBuf,
    /// Path at which it is written until [`PendingFile::take`].
    temporary: Option<PathBuf>,
    replaces: bool,
    /// Holds the lock which says that a recorder is alive.
    lock: File,
}

impl PendingFile {
    /// Creates the empty file (mode 0600, never through a link) beside its place.
    ///
    /// # Errors
    /// It exists and not `force`; it is being written; it is not a plain file; its folder cannot
    /// be written.
    pub(super) fn create(path: &Path, force: bool) -> Result<PendingFile, WriteError> {
        let failed = |source| WriteError::Create { path: path.to_owned(), source };
        let path = absolute(path).map_err(failed)?;
        let replaces = match fs::symlink_metadata(&path) {
            Ok(_) if !force => return Err(WriteError::Exists { path }),
            Ok(old) if !old.is_file() => return Err(WriteError::NotPlain { path }),
            Ok(_) => {
                let old = OpenOptions::new()
                    .read(true)
                    .custom_flags(rustix::fs::OFlags::NOFOLLOW.bits().cast_signed())
                    .open(&path)
                    .map_err(failed)?;
                if flock(&old, FlockOperation::NonBlockingLockExclusive) == Err(Errno::WOULDBLOCK) {
                    return Err(WriteError::Busy { path });
                }
                true
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                // A log without its recording is of no use to anyone, but it is not ours.
                for log in logs(&path) {
                    match fs::symlink_metadata(&log) {
                        Ok(_) if force => fs::remove_file(&log).map_err(failed)?,
                        Ok(_) => return Err(WriteError::Exists { path: log }),
                        Err(_) => {}
                    }
                }
                false
            }
            Err(error) => return Err(failed(error)),
        };
        remove_abandoned(&path);
        let temporary = beside(&path);
        let lock = create_new(&temporary).map_err(failed)?;
        give_to_invoker(&lock);
        // Where locks do not work (some network file systems), only the hint to readers is lost.
        let _ = flock(&lock, FlockOperation::NonBlockingLockExclusive);
        Ok(PendingFile { path, temporary: Some(temporary), replaces, lock })
    }

    /// Path at which the file is now.
    pub(super) fn current(&self) -> &Path {
        self.temporary.as_ref().unwrap_or(&self.path)
    }

    /// Do the file and its folder belong to this process's user? Then its logs are made and removed without privileges.
    pub(super) fn is_own(&self) -> bool {
        let own = rustix::process::geteuid().as_raw();
        let folder = self.path.parent().map(fs::metadata);
        self.lock.metadata().is_ok_and(|file| file.uid() == own)
            && folder.is_some_and(|folder| folder.is_ok_and(|folder| folder.uid() == own))
    }

    /// Does the file still have to take its place?
    pub(super) fn waits(&self) -> bool {
        self.temporary.is_some()
    }

    /// Is an old file there, which stays in its place as long as possible?
    pub(super) fn replaces(&self) -> bool {
        self.replaces
    }

    /// Puts the file in its place. The database must be closed: SQLite finds its log by its name.
    ///
    /// # Errors
    /// There is a file now where none was, or it cannot be renamed.
    pub(super) fn take(&mut self) -> io::Result<()> {
        if let Some(temporary) = self.temporary.clone() {
            if !self.replaces {
                rename_new(&temporary, &self.path)?;
                self.temporary = None;
                return Ok(());
            }
            // The old recording's log would be read as the new one's.
            for log in logs(&self.path) {
                match fs::remove_file(&log) {
                    Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                    _ => {}
                }
            }
            fs::rename(&temporary, &self.path)?;
            self.temporary = None;
        }
        Ok(())
    }

    /// Removes the file, in which nothing was recorded.
    pub(super) fn discard(&self) {
        remove(self.current());
    }
}

/// Is a recorder writing to this open file?
pub(super) fn is_being_written(file: &File) -> bool {
    flock(file, FlockOperation::NonBlockingLockShared) == Err(Errno::WOULDBLOCK)
}

/// Is there a log beside the database `path`?
pub(super) fn has_log(path: &Path) -> bool {
    logs(path).next().is_some_and(|log| log.exists())
}

/// Renames, unless `to` exists.
fn rename_new(from: &Path, to: &Path) -> io::Result<()> {
    match renameat_with(CWD, from, CWD, to, RenameFlags::NOREPLACE) {
        // This file system cannot do it at once.
        Err(Errno::INVAL | Errno::NOSYS) => match fs::symlink_metadata(to) {
            Ok(_) => Err(io::ErrorKind::AlreadyExists.into()),
            Err(_) => fs::rename(from, to),
        },
        renamed => Ok(renamed?),
    }
}

/// Removes unfinished files that recorders left when they were killed: those for `path`, and those for names that tracer
/// chose itself, which have the time in them and so never come again.
fn remove_abandoned(path: &Path) {
    let (Some(folder), Some(name)) = (path.parent(), path.file_name()) else { return };
    let own = name.to_string_lossy();
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let whole = name.strip_prefix('.').and_then(|rest| rest.strip_suffix(".new"));
        let Some((of, pid)) = whole.and_then(|rest| rest.rsplit_once('.')) else { continue };
        if of != own && !(of.starts_with("tracer-") && of.ends_with(".trec")) {
            continue;
        }
        let Ok(pid) = pid.parse::<u32>() else { continue };
        // That of another process with this one's pid was left, too.
        if pid == std::process::id() || !Path::new(&format!("/proc/{pid}")).exists() {
            remove(&entry.path());
        }
    }
}

/// Gives the file to the user for whom sudo runs this process, who will want to read and to remove it.
fn give_to_invoker(file: &File) {
    let id = |name| std::env::var(name).ok().and_then(|id| id.parse().ok());
    if rustix::process::geteuid().is_root()
        && let (Some(uid), Some(gid)) = (id("SUDO_UID"), id("SUDO_GID"))
    {
        // Where it cannot be given, root keeps it.
        let _ = fchown(file, Some(uid), Some(gid));
    }
}

fn create_new(path: &Path) -> io::Result<File> {
    OpenOptions::new()
        .read(true)
        .write(true)
        .create_new(true)
        .mode(0o600)
        .custom_flags(rustix::fs::OFlags::NOFOLLOW.bits().cast_signed())
        .open(path)
}

/// `path` with its folder resolved, so that SQLite takes no name for anything but a file.
fn absolute(path: &Path) -> io::Result<PathBuf> {
    let name = path.file_name().ok_or(io::ErrorKind::IsADirectory)?;
    let folder = match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    Ok(fs::canonicalize(folder)?.join(name))
}

fn beside(path: &Path) -> PathBuf {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    path.with_file_name(format!(".{name}.{}.new", std::process::id()))
}

/// The files that SQLite keeps beside a database.
fn logs(path: &Path) -> impl Iterator<Item = PathBuf> {
    ["-wal", "-shm", "-journal"].into_iter().map(|suffix| {
        let mut name = path.as_os_str().to_owned();
        name.push(suffix);
        PathBuf::from(name)
    })
}

fn remove(path: &Path) {
    let _ = fs::remove_file(path);
    for log in logs(path) {
        let _ = fs::remove_file(log);
    }
}
