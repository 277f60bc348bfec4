//! `cargo xtask kernels --neighbours`: what processes pay that nobody records, in instructions of an emulated processor.
//!
//! QEMU's clock counts instructions (`-icount`), so times that the guest measures are such: the same on a busy machine.
//! An instruction is not a time, least of all one that leads into the kernel. Counted are a process alone, and while
//! another one is recorded: with mapping calls seen at the kernel's functions, and at tracepoints.

use std::path::Path;

use anyhow::{Context, Result, bail};

use super::{Kernel, guest};
use crate::shell;

/// Operations of `bench/programs/neighbour.c`, how many of them are counted at once, and their names in the table.
const OPERATIONS: [(&str, u64, &str); 5] = [
    ("getppid", 20_000, "a system call (getppid)"),
    ("mmap", 4_000, "mmap and munmap"),
    ("fault", 5_120, "a page fault"),
    ("exec", 40, "fork and exec"),
    ("switch", 2_000, "two context switches"),
];
/// Counts of each; the least is taken, which has the fewest interrupts in it.
const ROUNDS: usize = 3;
/// Variants: name, and whether the kernel's functions are used. None is without a recording.
const VARIANTS: [(&str, Option<bool>); 3] =
    [("untraced", None), ("functions", Some(true)), ("tracepoints", Some(false))];
/// Begins the lines of counts.
const COUNTED: &str = "counted:";
/// One instruction is one nanosecond; the clock does not wait for the host's.
const CLOCK: [&str; 2] = ["-icount", "shift=0,sleep=off"];

pub(super) fn count(kernels: &[Kernel]) -> Result<()> {
    let neighbour = shell::root().join("target/kernels/neighbour");
    let source = shell::root().join("bench/programs/neighbour.c");
    shell::run(std::process::Command::new("cc").args(["-O2", "-pthread", "-o"]).arg(&neighbour).arg(source))?;
    let tracer = guest::tracer()?;
    let script = script(&neighbour, &tracer);
    let image = guest::image(&guest::Contents {
        programs: &[&neighbour, &tracer],
        files: &[],
        folders: &[],
        script: &script,
    })?;
    for kernel in kernels {
        let boot = guest::boot(kernel, &image, &CLOCK)?;
        if !boot.passed {
            boot.lines.iter().for_each(|line| eprintln!("  {line}"));
            bail!("nothing was counted on {}", kernel.release);
        }
        eprintln!("kernel {} ({}): counted in {} s", kernel.release, kernel.suite, boot.seconds);
        print!("{}", table(&kernel.release, &boot.lines)?);
    }
    Ok(())
}

/// Commands of the guest: a neighbour that waits is recorded, another one works.
fn script(neighbour: &Path, tracer: &Path) -> String {
    let (neighbour, tracer) = (neighbour.display(), tracer.display());
    let once: String = OPERATIONS.iter().map(|(name, count, _)| format!("{name} {count}\\n")).collect();
    let work = format!("printf '{}' | '{neighbour}' | tr '\\n' ' '", once.repeat(ROUNDS));
    let mut script = format!("sleep 1000000 | '{neighbour}' > /dev/null & target=$!\n");
    for (name, functions) in VARIANTS {
        let Some(functions) = functions else {
            script += &format!("echo \"{COUNTED} {name} $({work})\"\n");
            continue;
        };
        let without = if functions { "" } else { "TRACER_TEST_WITHOUT_FUNCTIONS=1 " };
        script += &format!(
            "{without}'{tracer}' record -p $target -d 1h --force -o /tmp/{name}.trec 2> /tmp/{name} & recorder=$!\n\
             until grep -qs '^ready:' /tmp/{name}; do kill -0 $recorder || {{ passed=0; break; }}; sleep 1; done\n\
             echo \"{COUNTED} {name} $({work})\"\n\
             kill -INT $recorder; wait $recorder || passed=0; [ $passed = 1 ] || cat /tmp/{name}\n"
        );
    }
    script
}

/// The table of these lines of the guest's, as the documentation has it.
fn table(release: &str, lines: &[String]) -> Result<String> {
    let mut columns = Vec::new();
    for (variant, _) in VARIANTS {
        let start = format!("{COUNTED} {variant} ");
        let counts = lines.iter().find_map(|line| line.strip_prefix(&start));
        let counts = counts.with_context(|| format!("nothing was counted: {variant}"))?;
        let counts: Vec<u64> = counts.split_ascii_whitespace().filter_map(|word| word.parse().ok()).collect();
        if counts.len() != ROUNDS * OPERATIONS.len() {
            bail!("{variant}: {counts:?}");
        }
        let least = |at: usize| counts.iter().skip(at).step_by(OPERATIONS.len()).min().copied().unwrap_or(0);
        columns.push((0..OPERATIONS.len()).map(least).collect::<Vec<u64>>());
    }
    let mut table = format!("| Linux {release}: instructions |");
    VARIANTS.iter().for_each(|(name, _)| table += &format!(" {name} |"));
    table += &format!("\n|---|{}\n", "---:|".repeat(VARIANTS.len()));
    for (at, (_, count, name)) in OPERATIONS.iter().enumerate() {
        table += &format!("| {name} |");
        columns.iter().for_each(|column| table += &format!(" {} |", column.get(at).unwrap_or(&0) / count));
        table += "\n";
    }
    Ok(table)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_least_of_each_is_in_the_table() {
        let counts = |add: u64| {
            let round = |more: u64| {
                OPERATIONS.map(|(_, count, _)| ((100 + add + more) * count).to_string()).join(" ")
            };
            format!("{} {} {}", round(7), round(0), round(9))
        };
        let lines: Vec<String> = (0..)
            .zip(VARIANTS)
            .map(|(at, (name, _))| format!("{COUNTED} {name} {}", counts(at * 50)))
            .collect();
        let table = table("6.1", &lines).expect("whole");
        assert!(table.contains("| mmap and munmap | 100 | 150 | 200 |"), "{table}");
        assert!(super::table("6.1", &lines[..2]).is_err());
    }
}
