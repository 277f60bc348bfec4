//! The process that a name means: the main class, the container id or the pod uid of a JVM.

use std::fs;

use super::jvm;
use super::target::{Stat, command};
use super::{Pid, container, displayable};

/// Characters of a container's id or a pod's uid that are enough to name it.
const MIN_ID_CHARS: usize = 8;
/// Processes that are listed if a name fits several.
const MAX_LISTED: usize = 20;

/// Reason why a name means no process.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    #[error("no process has this main class, container id or pod uid")]
    None,
    /// Several processes, as a list in one line.
    #[error("{count} processes have this name: {list}")]
    Several { count: usize, list: String },
}

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

/// The process that `text` names.
///
/// # Errors
/// No process, or more than one, has that name.
pub fn named(text: &str) -> Result<Pid, NameError> {
    choose(text, &candidates())
}

fn choose(text: &str, candidates: &[Candidate]) -> Result<Pid, NameError> {
    let mut fits: Vec<&Candidate> = candidates.iter().filter(|one| one.is_named(text)).collect();
    // Beside the JVM, a container has shells and the like.
    if fits.iter().any(|one| one.is_jvm) {
        fits.retain(|one| one.is_jvm);
    }
    match fits[..] {
        [one] => Ok(one.pid),
        [] => Err(NameError::None),
        _ => {
            let mut listed: Vec<String> = fits.iter().take(MAX_LISTED).map(|one| one.described()).collect();
            let rest = fits.len().saturating_sub(MAX_LISTED);
            if rest > 0 {
                listed.push(format!("and {rest} more"));
            }
            Err(NameError::Several { count: fits.len(), list: listed.join(", ") })
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

    fn described(&self) -> String {
        let main = self.main.as_deref().filter(|main| !main.is_empty()).unwrap_or(&self.comm);
        let container = self.container.as_deref().map(|id| {
            let id: String = id.chars().take(12).collect();
            format!(", container {}", displayable(&id))
        });
        format!("{} ({}{})", self.pid, displayable(main), container.unwrap_or_default())
    }
}

/// Every process that has a program.
fn candidates() -> Vec<Candidate> {
    let mut pids: Vec<Pid> = Pid::all().collect();
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
            assert_eq!(choose(none, &all), Err(NameError::None), "{none}");
        }
    }

    #[test]
    fn several_are_listed_and_none_is_chosen() {
        let all = [
            java(Pid(2), "com.acme.Shop", "0::/"),
            java(Pid(3), "org.other.Sh\u{1b}op", "0::/"),
            java(Pid(5), "a.Shop", ""),
        ];
        let list = "2 (com.acme.Shop), 5 (a.Shop)".to_owned();
        assert_eq!(choose("Shop", &all), Err(NameError::Several { count: 2, list }));
        let many: Vec<Candidate> = (1..=30).map(|pid| java(Pid(pid), "a.Shop", "")).collect();
        let Err(NameError::Several { count, list }) = choose("Shop", &many) else {
            panic!("30 have the name")
        };
        assert!(count == 30 && list.ends_with("20 (a.Shop), and 10 more"), "{list}");
    }
}
