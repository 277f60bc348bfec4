//! The kernel's numbers of processes and threads, and where `/proc` describes them: the one home of such paths.

use std::{
    fmt, fs, io,
    path::{Path, PathBuf},
    str::FromStr,
};

use serde::{Deserialize, Serialize};

macro_rules! number {
    ($(#[$meta:meta])* $name:ident) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub u32);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }

        impl FromStr for $name {
            type Err = std::num::ParseIntError;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                text.parse().map(Self)
            }
        }
    };
}

number! {
    /// A process, in the tracer's own pid namespace.
    Pid
}

number! {
    /// A thread, in the tracer's own pid namespace. That of a process's first thread is the number of the process.
    Tid
}

number! {
    /// A thread, in the innermost pid namespace of its process: the number that the process itself knows.
    InnerTid
}

impl Pid {
    /// The calling process.
    pub fn own() -> Self {
        Self(std::process::id())
    }

    /// Every process that the kernel lists now.
    pub fn all() -> impl Iterator<Item = Self> {
        let entries = fs::read_dir("/proc").into_iter().flatten();
        entries.map_while(Result::ok).filter_map(|entry| entry.file_name().to_str()?.parse().ok())
    }

    /// The first thread of the process.
    pub fn leader(self) -> Tid {
        Tid(self.0)
    }

    /// The number as system calls take it.
    pub fn raw(self) -> i32 {
        self.0.cast_signed()
    }

    /// A file of the process in `/proc`: `maps`, say.
    pub fn path(self, name: impl AsRef<Path>) -> PathBuf {
        Path::new("/proc").join(self.to_string()).join(name)
    }

    /// A file of one of its threads: `comm`, say.
    pub fn thread_path(self, tid: Tid, name: &str) -> PathBuf {
        self.path("task").join(tid.to_string()).join(name)
    }

    /// The threads that it has now, as the kernel lists them.
    ///
    /// # Errors
    /// No such process, or it has ended.
    pub fn threads(self) -> io::Result<impl Iterator<Item = Tid>> {
        let entries = fs::read_dir(self.path("task"))?;
        Ok(entries.map_while(Result::ok).filter_map(|entry| entry.file_name().to_str()?.parse().ok()))
    }

    /// The name that the kernel has for one of its threads, 15 bytes at most.
    pub fn thread_name(self, tid: Tid) -> Option<String> {
        let bytes = fs::read(self.thread_path(tid, "comm")).ok()?;
        Some(String::from_utf8_lossy(&bytes).trim_end().to_owned())
    }
}

impl Tid {
    /// The number as system calls take it.
    pub fn raw(self) -> i32 {
        self.0.cast_signed()
    }

    /// A file of the thread in `/proc`, which has a folder for every thread though it lists processes alone.
    pub fn path(self, name: &str) -> PathBuf {
        Path::new("/proc").join(self.to_string()).join(name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_has_its_first_thread_and_those_that_it_started() {
        let barrier = std::sync::Arc::new(std::sync::Barrier::new(2));
        let theirs = std::sync::Arc::clone(&barrier);
        let thread = std::thread::Builder::new().name("a b\tc".to_owned());
        // Named when it runs, and there until its names were read.
        let thread = thread.spawn(move || (theirs.wait(), theirs.wait())).expect("a thread");
        barrier.wait();
        let pid = Pid::own();
        let names: Vec<_> =
            pid.threads().expect("this process").filter_map(|tid| pid.thread_name(tid)).collect();
        assert!(names.iter().any(|name| name == "a b\tc"), "{names:?}");
        assert!(pid.threads().expect("this process").any(|tid| tid == pid.leader()));
        assert!(pid.leader().path("stat").exists());
        assert_eq!(pid.path("maps").to_str(), Some(&*format!("/proc/{pid}/maps")));
        barrier.wait();
        assert!(thread.join().is_ok());
        assert!(Pid::all().any(|other| other == pid));
        // Pids end at 2^22.
        assert!(Pid(1 << 23).threads().is_err());
    }
}
