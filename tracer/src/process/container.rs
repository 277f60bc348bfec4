//! The container that a process runs in, by the names of its control groups.

use std::fs;

use super::Pid;

/// The container of process `pid`, if its control groups name one.
pub fn of(pid: Pid) -> Option<String> {
    parse(&fs::read_to_string(pid.path("cgroup")).ok()?)
}

/// The container id in the text of `/proc/PID/cgroup`: 64 hexadecimal digits (Docker, containerd,
/// CRI-O, Podman), the `<32 digits>-<number>` of Fargate, or the name of an LXC or
/// systemd-nspawn container.
pub fn parse(text: &str) -> Option<String> {
    let paths = || text.lines().take(64).filter_map(|line| line.splitn(3, ':').nth(2));
    // The innermost part names the container; outer ones name what it runs in.
    let parts = || paths().flat_map(|path| path.rsplit('/'));
    parts().find_map(hex_id).or_else(|| parts().find_map(named))
}

fn hex_id(part: &str) -> Option<String> {
    let is_hex = |text: &str| text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    // `docker-<id>.scope`, `cri-containerd-<id>.scope`, `libpod-<id>`, `<id>`.
    let bare = part.strip_suffix(".scope").unwrap_or(part);
    let id = bare.rsplit(['-', ':']).next().unwrap_or(bare);
    if id.len() == 64 && is_hex(id) {
        return Some(id.to_owned());
    }
    let (task, number) = part.split_once('-')?;
    let fargate = task.len() == 32
        && is_hex(task)
        && number.len() >= 8
        && number.bytes().all(|byte| byte.is_ascii_digit());
    fargate.then(|| part.to_owned())
}

fn named(part: &str) -> Option<String> {
    let name = match part.strip_prefix("lxc.payload.") {
        Some(name) => name,
        None => part.strip_prefix("machine-")?.strip_suffix(".scope")?,
    };
    (!name.is_empty() && name.len() <= 64).then(|| name.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

    #[test]
    fn every_runtime_s_form() {
        for path in [
            format!("0::/system.slice/docker-{ID}.scope"),
            format!("0::/docker/{ID}"),
            format!("12:memory:/kubepods/burstable/pod6a0f/{ID}\n0::/"),
            format!("0::/kubepods.slice/kubepods-pod1.slice/cri-containerd-{ID}.scope"),
            format!("0::/kubepods.slice/crio-{ID}.scope/container"),
            format!("0::/machine.slice/libpod-{ID}.scope/container"),
            format!("1:cpu:/system.slice/containerd.service/kubepods-pod1.slice:cri-containerd:{ID}"),
        ] {
            assert_eq!(parse(&path).as_deref(), Some(ID), "{path}");
        }
        let fargate =
            "9:memory:/ecs/0123456789abcdef0123456789abcdef/0123456789abcdef0123456789abcdef-2531612879";
        assert_eq!(parse(fargate).as_deref(), Some("0123456789abcdef0123456789abcdef-2531612879"));
        assert_eq!(parse("0::/lxc.payload.web/init.scope").as_deref(), Some("web"));
        assert_eq!(parse("0::/machine.slice/machine-deb.scope/payload").as_deref(), Some("deb"));
    }

    #[test]
    fn no_container() {
        for text in [
            "",
            "0::/",
            "0::/user.slice/user-0.slice/session-1.scope",
            "4:memory:/api/3abe6aeb355175935f64006a0d2ec0a1",
        ] {
            assert_eq!(parse(text), None, "{text}");
        }
    }
}
