//! What is said before a look of the memory that it will take, against what the kernel says that it took.

use std::io::Read;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use crate::common::fixture::java_classes;
use crate::common::process::Process;
use crate::common::recorder::tracer;
use crate::{is_all, is_root, matrix};

/// Heaps of so many MiB, of which one object in so many is kept.
const FEW: [(u64, u64); 1] = [(200, 1)];
const ALL: [(u64, u64); 3] = [(200, 1), (1_000, 4), (2_200, 1)];

#[test]
fn memory_is_as_predicted() {
    if !is_root() {
        return;
    }
    for (_, java, flags) in matrix() {
        for (mib, part) in if is_all() { &ALL[..] } else { &FEW } {
            check(&java, &flags, *mib, *part);
        }
    }
}

fn check(java: &Path, flags: &[&str], mib: u64, part: u64) {
    let at = format!("{} {flags:?} {mib} MiB, one in {part}", java.display());
    let mut command = Command::new(java);
    command.args(["-Xms4g", "-Xmx4g"]).args(flags);
    command.arg("-cp").arg(java_classes()).args(["Filled", &mib.to_string(), &part.to_string()]);
    let (mut process, mut stdout, _stderr) = Process::start(&mut command);
    stdout.until("ready");
    let pid = process.pid().to_string();
    let mut look = tracer();
    look.args(["holders", "-p", &pid, "--max-pause", "20000"]).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut look = look.spawn().expect("run tracer");
    let (mut answer, mut said) = (String::new(), String::new());
    look.stderr.take().expect("stderr").read_to_string(&mut said).expect("read");
    look.stdout.take().expect("stdout").read_to_string(&mut answer).expect("read");
    let (is_done, taken) = wait(look);
    assert!(is_done, "{at}: {said}");
    assert!(answer.contains("Filled.inflaters"), "{at}: {answer}");
    // The last word counts: a collection that was waited for leaves less.
    let predicted = said.lines().rev().find_map(needed_bytes).unwrap_or_else(|| panic!("{at}: {said}"));
    let ratio = taken as f64 / predicted as f64;
    assert!((1.0 / 1.2..1.2).contains(&ratio), "{at}: {taken} of {predicted} bytes, {ratio:.2}");
    println!("{at}: {ratio:.2} of the memory that was said");
    process.close_stdin();
    assert_eq!(process.wait().code(), Some(0), "{at}");
}

/// The bytes in `... tracer needs 374.0 MiB of memory`.
fn needed_bytes(line: &str) -> Option<u64> {
    let (number, rest) = line.split_once("tracer needs ")?.1.split_once(' ')?;
    let unit = if rest.starts_with("GiB") { 30 } else { 20 };
    number.parse::<f64>().ok().map(|number| (number * f64::from(1 << unit)) as u64)
}

/// Waits for a process: did it succeed, and how much memory did it have at most?
fn wait(child: Child) -> (bool, u64) {
    let mut status = 0;
    // SAFETY: zeros are a valid `rusage`.
    let mut usage: libc::rusage = unsafe { std::mem::zeroed() };
    // SAFETY: both outlive the call; nobody else waits for this child.
    let pid = unsafe { libc::wait4(child.id() as i32, &raw mut status, 0, &raw mut usage) };
    assert_eq!(pid, child.id() as i32, "the child is there");
    (status == 0, (usage.ru_maxrss as u64) << 10)
}
