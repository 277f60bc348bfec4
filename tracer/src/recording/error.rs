//! Errors of a recording, case by case, with what mends it.

use std::io;
use std::path::PathBuf;

/// Reason why a recording could not be started or written on.
#[derive(Debug, thiserror::Error)]
pub enum WriteError {
    #[error("{} exists already", path.display())]
    Exists { path: PathBuf },
    #[error("{} is being written by another tracer", path.display())]
    Busy { path: PathBuf },
    #[error("{} is not a plain file, and is not replaced", path.display())]
    NotPlain { path: PathBuf },
    #[error("cannot create {}: {source}", path.display())]
    Create { path: PathBuf, source: io::Error },
    #[error("no space left for {}: {}", path.display(), outcome(*is_kept))]
    Full { path: PathBuf, is_kept: bool },
    /// `is_kept`, here and above: something was recorded, and the file is there.
    #[error("cannot write {}: {detail}: {}", path.display(), outcome(*is_kept))]
    Write { path: PathBuf, detail: String, is_kept: bool },
}

fn outcome(is_kept: bool) -> &'static str {
    match is_kept {
        true => "the recording ends here and is marked unfinished",
        false => "nothing was recorded",
    }
}

impl WriteError {
    /// The person's remedy.
    pub fn help(&self) -> String {
        match self {
            WriteError::Exists { .. } => {
                "choose another file with -o FILE, or replace it with --force".into()
            }
            WriteError::Busy { .. } => "choose another file with -o FILE, or stop the other tracer".into(),
            WriteError::NotPlain { .. } => "choose another file with -o FILE".into(),
            WriteError::Create { .. } => "choose a file in a folder that you can write, with -o FILE".into(),
            WriteError::Full { path, is_kept: true } => {
                format!("make space, and see what was recorded with: tracer report {}", path.display())
            }
            WriteError::Full { .. } => {
                "make space, or choose a file on another file system with -o FILE".into()
            }
            WriteError::Write { path, is_kept: true, .. } => {
                format!("see what was recorded with: tracer report {}", path.display())
            }
            WriteError::Write { .. } => {
                "choose a file on another file system with -o FILE; `ulimit -f` shows how large it may be"
                    .into()
            }
        }
    }
}

/// Reason why a file could not be read as a recording.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    #[error("cannot read {}: {source}", path.display())]
    Io { path: PathBuf, source: io::Error },
    #[error("{} is not a recording of tracer: it is {what}", path.display())]
    Foreign { path: PathBuf, what: &'static str },
    #[error("{} is damaged: {detail}", path.display())]
    Corrupt { path: PathBuf, detail: String },
    #[error(
        "{} was written by a newer tracer: its format is {version}, this one reads up to {known}",
        path.display()
    )]
    Newer { path: PathBuf, version: u32, known: u32 },
    #[error(
        "cannot open {}: it was not finished, and its log {}-wal can be read only in a folder that can be written",
        path.display(), path.display()
    )]
    NeedsFolder { path: PathBuf },
}

impl ReadError {
    /// The person's remedy.
    pub fn help(&self) -> String {
        match self {
            ReadError::Io { source, .. } if source.kind() == io::ErrorKind::NotFound => {
                "recordings end in .trec and are made with: tracer record -p PID -o FILE".into()
            }
            ReadError::Io { source, .. } if source.kind() == io::ErrorKind::PermissionDenied => {
                "recordings can be read by the user who made them: use sudo, or change the file's owner"
                    .into()
            }
            ReadError::Io { .. } => "give a file that can be read".into(),
            ReadError::Foreign { .. } => "make a recording with: tracer record -p PID -o FILE".into(),
            ReadError::Corrupt { .. } => {
                "copy the file again from where it was recorded, together with FILE-wal if there is one"
                    .into()
            }
            ReadError::Newer { .. } => "read it with the tracer that made it, or a newer one".into(),
            ReadError::NeedsFolder { .. } => {
                "copy the file and the one ending in -wal into a folder of your own, and read it there".into()
            }
        }
    }
}
