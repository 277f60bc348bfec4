//! A process in a container: with a file system, pids and users of its own.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};
use tracer::process::Pid;

use crate::common::fixture::{fetched_java, java_classes};
use crate::common::skip;
use crate::{check_answer, holders, is_root, start_owners};

/// Container runtime by the Open Container Initiative.
const RUNTIME: &str = "runc";
const NAMESPACES: [&str; 5] = ["pid", "mount", "ipc", "uts", "network"];
/// First user of the host that a user of the container can be, and their number.
const USERS: (u32, u32) = (100_000, 65_536);

/// A container that is deleted with its processes.
struct Container(String);

impl Container {
    fn pid(&self) -> Pid {
        let output = Command::new(RUNTIME).args(["state", &self.0]).output().expect("runc");
        let state: Value = serde_json::from_slice(&output.stdout).expect("JSON");
        Pid(state["pid"].as_u64().and_then(|pid| pid.try_into().ok()).expect("a pid"))
    }
}

impl Drop for Container {
    fn drop(&mut self) {
        // It may have ended.
        let _ = Command::new(RUNTIME).args(["delete", "--force", &self.0]).output();
    }
}

/// What the runtime shall start: Java at a place at which the host has none.
fn configuration(java_home: &Path, has_users: bool) -> Value {
    let bind = |from: &Path, to: &str| json!({"destination": to, "type": "bind", "source": from, "options": ["rbind", "ro"]});
    let mut mounts = vec![
        json!({"destination": "/proc", "type": "proc", "source": "proc"}),
        json!({"destination": "/dev", "type": "tmpfs", "source": "tmpfs", "options": ["nosuid", "mode=755"]}),
        json!({"destination": "/tmp", "type": "tmpfs", "source": "tmpfs"}),
        bind(java_home, "/opt/java"),
        bind(&java_classes(), "/opt/classes"),
    ];
    mounts.extend(["/usr", "/lib", "/lib64"].map(|path| bind(Path::new(path), path)));
    let mut namespaces: Vec<Value> = NAMESPACES.map(|name| json!({"type": name})).into();
    let users = json!([{"containerID": 0, "hostID": USERS.0, "size": USERS.1}]);
    namespaces.extend(has_users.then(|| json!({"type": "user"})));
    let users = if has_users { users } else { Value::Null };
    let java = ["/opt/java/bin/java", "-Xmx256m", "-XX:MaxDirectMemorySize=200m", "-cp", "/opt/classes"];
    let arguments = [&java[..], &["Owners", "quiet", "100"]].concat();
    json!({
        "ociVersion": "1.0.2",
        "process": {
            "terminal": false,
            "user": {"uid": 0, "gid": 0},
            "args": arguments,
            "env": ["PATH=/usr/bin"],
            "cwd": "/",
        },
        "root": {"path": "root"},
        "hostname": "container",
        "mounts": mounts,
        "linux": {"namespaces": namespaces, "uidMappings": users, "gidMappings": users},
    })
}

#[test]
fn a_process_in_a_container() {
    if !is_root() {
        return;
    }
    if Command::new(RUNTIME).arg("--version").output().is_err() {
        return skip("needs runc");
    }
    let Some(java) = fetched_java(21) else { return skip("needs JDK 21 (cargo xtask setup --tests)") };
    let home = java.parent().and_then(Path::parent).expect("a JDK");
    for has_users in [false, true] {
        let bundle = tempfile::tempdir_in("/tmp").expect("a folder");
        let configuration = configuration(home, has_users);
        for mount in configuration["mounts"].as_array().expect("mounts") {
            let place = mount["destination"].as_str().expect("a path").trim_start_matches('/');
            std::fs::create_dir_all(bundle.path().join("root").join(place)).expect("a folder");
        }
        // Its root is another user of the host.
        std::fs::set_permissions(bundle.path(), Permissions::from_mode(0o755)).expect("its mode");
        std::fs::write(bundle.path().join("config.json"), configuration.to_string()).expect("written");
        let container = Container(format!("tracer-{}-{has_users}", std::process::id()));
        let mut command = Command::new(RUNTIME);
        command.args(["run", "--bundle"]).arg(bundle.path()).arg(&container.0);
        let (mut process, mut stdout, truths) = start_owners(&mut command);
        let answer = holders(container.pid(), &["--max-pause", "20000"]);
        check_answer(&answer, &truths, "quiet", &format!("in a container, users {has_users}"));
        process.tell("");
        assert!(stdout.rest().contains("sum 0"));
        assert_eq!(process.wait().code(), Some(7));
    }
}
