//! The process that `-p` names: by its pid, or by the main class, the container id or the pod uid of a JVM.

use std::fs;
use std::str::FromStr;

use crate::{
    cli::failure::{Failure, status},
    output::clean,
    process::{
        Pid, container, jvm,
        target::{Stat, command},
    },
};

/// Characters of a container's id or a pod's uid that are enough to name it.
const MIN_ID_CHARS: usize = 8;
/// Processes that are listed if a name fits several.
const MAX_LISTED: usize = 20;

/// A process that a name may mean.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Candidate {
    pid: Pid,
    comm: String,
    main: Option<String>,
    container: Option<String>,
    /// The text of its control groups, in which Kubernetes has the pod's uid.
    groups: String,
    is_jvm: bool,
}

/// A process as a person names it; not empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProcessName(String);

impl FromStr for ProcessName {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<ProcessName, Self::Err> {
        match text.trim() {
            "" => Err("the pid or name is empty; `tracer list` shows the JVMs of this host"),
            text => Ok(ProcessName(text.to_owned())),
        }
    }
}

impl ProcessName {
    /// The pid that it means.
    ///
    /// # Errors
    /// No process, or more than one, has that name.
    pub(super) fn pid(&self) -> Result<Pid, Failure> {
        let text = &self.0;
        if text.bytes().all(|byte| byte.is_ascii_digit()) {
            let none = |_| Failure::new(status::FAILED, format!("no process with pid {text}")).help(LIST);
            return text.parse().map_err(none);
        }
        choose(text, &candidates())
    }
}

const LIST: &str = "`tracer list` shows the JVMs of this host";

fn choose(text: &str, candidates: &[Candidate]) -> Result<Pid, Failure> {
    let mut fits: Vec<&Candidate> = candidates.iter().filter(|one| one.is_named(text)).collect();
    // Beside the JVM, a container has shells and the like.
    if fits.iter().any(|one| one.is_jvm) {
        fits.retain(|one| one.is_jvm);
    }
    match fits[..] {
        [one] => Ok(one.pid),
        [] => {
            let error =
                format!("-p {}: no process has this main class, container id or pod uid", clean(text));
            Err(Failure::new(status::USAGE, error).help(LIST))
        }
        _ => {
            let listed = fits.iter().take(MAX_LISTED).map(|one| format!("\n  {}", one.line()));
            let rest = fits.len().saturating_sub(MAX_LISTED);
            let rest = if rest > 0 { format!("\n  and {rest} more") } else { String::new() };
            let error = format!(
                "-p {}: {} processes have this name:{}{rest}",
                clean(text),
                fits.len(),
                listed.collect::<String>()
            );
            Err(Failure::new(status::USAGE, error).help("name one of them by its pid"))
        }
    }
}

impl Candidate {
    fn is_named(&self, text: &str) -> bool {
        let main = self.main.as_deref().filter(|_| self.is_jvm).unwrap_or_default();
        let short = main.rsplit('/').next().unwrap_or_default();
        let names = [main, short, short.rsplit('.').next().unwrap_or_default()];
        let is_main = !main.is_empty() && (names.contains(&text) || short.strip_suffix(".jar") == Some(text));
        is_main || self.is_in(text)
    }

    /// Does `id` name its container or its pod?
    fn is_in(&self, id: &str) -> bool {
        let is_id =
            id.len() >= MIN_ID_CHARS && id.bytes().all(|byte| byte.is_ascii_hexdigit() || byte == b'-');
        // systemd's slices have underscores in place of the uid's dashes.
        let pod = |id: &str| self.groups.contains(&format!("pod{id}"));
        let is_container = self.container.as_deref().is_some_and(|container| container.starts_with(id));
        is_id && (is_container || pod(id) || pod(&id.replace('-', "_")))
            || self.container.as_deref() == Some(id)
    }

    fn line(&self) -> String {
        let main = self.main.as_deref().filter(|main| !main.is_empty()).unwrap_or(&self.comm);
        let container = self.container.as_deref().map(|id| {
            let id: String = id.chars().take(12).collect();
            format!("  in {}", clean(&id))
        });
        format!("{}  {}{}", self.pid, clean(main), container.unwrap_or_default())
    }
}

/// Every process that has a program.
fn candidates() -> Vec<Candidate> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    let mut pids: Vec<Pid> = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect();
    pids.sort_unstable();
    let own = Pid::own();
    pids.into_iter().filter(|&pid| pid != own).filter_map(candidate).collect()
}

fn candidate(pid: Pid) -> Option<Candidate> {
    let comm = Stat::read(pid).ok()?.comm;
    let command = command(pid);
    if command.is_empty() {
        return None;
    }
    let groups = fs::read_to_string(pid.path("cgroup")).unwrap_or_default();
    let main = jvm::main_class(&command);
    let container = container::parse(&groups);
    Some(Candidate { pid, comm: comm.raw().to_owned(), is_jvm: main.is_some(), main, container, groups })
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

    fn java(pid: Pid, main: &str, groups: &str) -> Candidate {
        let container = container::parse(groups);
        let (comm, main) = ("java".to_owned(), Some(main.to_owned()));
        Candidate { pid, comm, main, container, groups: groups.to_owned(), is_jvm: true }
    }

    #[test]
    fn a_name_is_a_main_class_a_container_or_a_pod() {
        let pod = format!(
            "0::/kubepods.slice/kubepods-pod6f1c2a7e_0b1d_4f57_9a53_aa11bb22cc33.slice/cri-containerd-{ID}.scope"
        );
        let shell = Candidate { is_jvm: false, main: None, comm: "sh".to_owned(), ..java(Pid(4), "", &pod) };
        let all = [java(Pid(2), "com.acme.Shop", "0::/"), java(Pid(3), "/opt/app/server.jar", &pod), shell];
        for (name, pid) in [
            ("Shop", 2),
            ("com.acme.Shop", 2),
            ("server.jar", 3),
            ("server", 3),
            (ID, 3),
            (&ID[..12], 3),
            ("6f1c2a7e-0b1d-4f57-9a53-aa11bb22cc33", 3),
        ] {
            assert_eq!(choose(name, &all).expect(name), Pid(pid));
        }
        for none in ["", "abc", "Sho", "acme", "0123", "java", "-", "6f1c2a7e-0b1d-4f57-9a53-aa11bb22cc34"] {
            let failure = choose(none, &all).expect_err(none);
            assert_eq!(failure.status, status::USAGE);
        }
    }

    #[test]
    fn several_are_listed_and_none_is_chosen() {
        let all = [
            java(Pid(2), "com.acme.Shop", "0::/"),
            java(Pid(3), "org.other.Sh\u{1b}op", "0::/"),
            java(Pid(5), "a.Shop", ""),
        ];
        let failure = choose("Shop", &all).expect_err("two");
        assert_eq!(failure.status, status::USAGE);
        assert!(
            failure.error.contains("2  com.acme.Shop\n") && failure.error.contains("5  a.Shop"),
            "{failure}"
        );
    }
}
