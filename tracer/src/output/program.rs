//! The recorded program as other tools know it: its name, and when its recording began.

use std::time::{Duration, UNIX_EPOCH};

use super::label::clean;
use crate::process::Pid;
use crate::process::jvm::main_class;
use crate::profile::{Session, Target};

/// Name of a recorded program.
pub fn name(target: &Target) -> String {
    of_command(&target.command, &target.comm)
}

/// Name of a program: its main class or jar, else its thread's name `comm`.
pub(super) fn of_command(command: &[String], comm: &str) -> String {
    let main = main_class(command).map(|main| {
        // The class of `-m module/class`, and the file of `-jar path/file.jar`.
        let last = main.rsplit('/').next().unwrap_or(&main);
        last.strip_suffix(".jar").unwrap_or(last).to_owned()
    });
    let name = main.filter(|name| !name.is_empty()).unwrap_or_else(|| comm.to_owned());
    clean(&name).into_owned()
}

/// `com.acme.Feed (pid 4711)`; without the pid where it was taken out.
pub fn with_pid(target: &Target) -> String {
    match target.pid {
        Pid(0) => name(target),
        pid => format!("{} (pid {pid})", name(target)),
    }
}

/// Time at which recording began, in nanoseconds since 1970; 0: not known.
pub fn started_ns(session: &Session) -> u64 {
    let started = humantime::parse_rfc3339(&session.started).ok();
    let since = started.and_then(|started| started.duration_since(UNIX_EPOCH).ok());
    since
        .as_ref()
        .map(Duration::as_nanos)
        .and_then(|nanoseconds| u64::try_from(nanoseconds).ok())
        .unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn programs_have_names() {
        let of = |command: &str| {
            name(&Target {
                pid: Pid(1),
                comm: "java".to_owned(),
                command: command.split_whitespace().map(str::to_owned).collect(),
                jvm: None,
                container: None,
            })
        };
        assert_eq!(of("java -Xmx1g com.acme.Feed --port 80"), "com.acme.Feed");
        assert_eq!(of("/usr/bin/java -jar /srv/shop.jar"), "shop");
        assert_eq!(of("java -m acme.shop/com.acme.Shop"), "com.acme.Shop");
        assert_eq!(of("/usr/bin/nginx"), "java");
        assert_eq!(of(""), "java");
    }
}
