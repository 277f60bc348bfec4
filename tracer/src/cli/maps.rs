//! `tracer maps`: every mapping of a process with its owner, at once and with no probe attached.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt::Write;

use serde_json::{Value, json};

use super::check::{Format, jvm_json};
use super::failure::{Failure, status};
use super::print::{print, printable};
use crate::attribute::known_name;
use crate::glibc::{Arena, Holdings, Malloc};
use crate::hotspot::{Hotspot, HotspotError};
use crate::limits;
use crate::output::{fit, units};
use crate::process::memory::LiveMemory;
use crate::process::pagemap::PageMap;
use crate::process::{self, Target};
use crate::vmmap::{self, Map, Owner, Part, Usage};

/// Details of an owner shown in the summary.
const DETAILS: usize = 6;

/// Show every mapping of a process with its owner: what is reserved, committed and in memory
///
/// Attaches nothing, and does not stop the process. The sums by owner come first.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// The process
    #[arg(short, long, value_name = "PID")]
    pub pid: u32,
    /// Only the sums by owner
    #[arg(short, long)]
    pub summary: bool,
    /// How to write the result
    #[arg(long, value_enum, default_value_t, value_name = "FORMAT")]
    pub format: Format,
}

/// Runs the command.
///
/// # Errors
/// No such process, not permitted, or it ended while it was read.
pub fn run(args: &Args) -> Result<u8, Failure> {
    let pid = args.pid;
    let target = process::inspect(pid).map_err(|error| {
        let lacking = matches!(error, process::TargetError::NotPermitted { .. });
        let status = if lacking { status::LACKING } else { status::FAILED };
        Failure::new(status, &error).help(error.help())
    })?;
    let unreadable = |error: std::io::Error| {
        if error.kind() == std::io::ErrorKind::PermissionDenied {
            return Failure::new(status::LACKING, format!("not permitted to read the memory of pid {pid}"))
                .help("run as root: `sudo tracer ...`");
        }
        let gone = !target.is_alive();
        let what =
            if gone { "ended while it was read".to_owned() } else { format!("cannot be read: {error}") };
        Failure::new(status::FAILED, format!("process {pid} ({}) {what}", target.comm))
            .help("`tracer list` shows the JVMs of this host")
    };
    let memory = LiveMemory::open(pid).map_err(unreadable)?;
    let residency = PageMap::open(pid).map_err(unreadable)?;
    let jvm = open_jvm(&target);
    let source = vmmap::Source {
        pid,
        modules: &target.modules,
        memory: &memory,
        residency: &residency,
        jvm: jvm.as_ref().and_then(|jvm| jvm.as_ref().ok()),
        walks_heap: true,
    };
    let map = vmmap::read(&source).map_err(unreadable)?;
    let notes = notes(&target, jvm.as_ref());
    print(&match args.format {
        Format::Text => text(&target, &map, &notes, args.summary),
        Format::Json => format!("{:#}\n", json(&target, &map, &notes)),
    })?;
    Ok(status::DONE)
}

fn open_jvm(target: &Target) -> Option<Result<Hotspot, HotspotError>> {
    let info = target.jvm.as_ref()?;
    let memory = LiveMemory::open(target.pid).map_err(HotspotError::Library);
    Some(memory.and_then(|memory| Hotspot::open(&info.libjvm.file, info.libjvm.load_bias, memory)))
}

fn notes(target: &Target, jvm: Option<&Result<Hotspot, HotspotError>>) -> Vec<String> {
    match jvm {
        Some(Err(error)) => vec![format!(
            "The JVM's own parts are not told apart: {}.",
            Failure::caused(status::LACKING, error).error
        )],
        Some(Ok(_)) => Vec::new(),
        None if target.jvm.is_none() => {
            vec!["Not a JVM: anonymous memory is malloc's or unexplained.".to_owned()]
        }
        None => Vec::new(),
    }
}

fn text(target: &Target, map: &Map, notes: &[String], summary_only: bool) -> String {
    let mut out = String::new();
    let _ = writeln!(out, "{} (pid {})", printable(&target.comm), target.pid);
    for note in notes {
        let _ = writeln!(out, "{}", printable(note));
    }
    let _ = writeln!(
        out,
        "\n{:<32}{:>12}{:>12}{:>12}{:>12}",
        "owner", "reserved", "committed", "resident", "swapped"
    );
    for (owner, usage) in map.by_owner() {
        row(&mut out, owner.name(), &usage);
        let details = details(map, owner);
        for (name, usage) in details.iter().take(DETAILS) {
            row(&mut out, &format!("  {}", fit(&printable(name), 29)), usage);
        }
        if details.len() > DETAILS {
            let mut rest = Usage::default();
            details.iter().skip(DETAILS).for_each(|(_, usage)| rest.add(usage));
            row(&mut out, &format!("  {} more", details.len() - DETAILS), &rest);
        }
    }
    row(&mut out, "all", &map.total());
    if let Some(heap) = &map.heap {
        let holds = heap.total();
        let _ = writeln!(
            out,
            "malloc's arenas: {} in use by {}, {} free between them, {} free at their ends",
            units::bytes(holds.in_use.bytes),
            units::counted(holds.in_use.count, "block"),
            units::bytes(holds.free_bytes()),
            units::bytes(holds.top_bytes)
        );
    }
    if let Some(rss) = map.rss_bytes {
        let _ = writeln!(out, "{:<32}{:>36}", "RSS, as the kernel counts it", units::bytes(rss));
    }
    if let Some((bytes, used_bytes)) = limits::memory_limit(target.pid) {
        let used = used_bytes.map(|used| format!(", of which its group uses {}", units::bytes(used)));
        let _ = writeln!(
            out,
            "{:<32}{:>36}{}",
            "limit of its control group",
            units::bytes(bytes),
            used.unwrap_or_default()
        );
    }
    if summary_only {
        return out;
    }
    let _ = writeln!(
        out,
        "\n{:<16} {:>10} {:>10} {:>10}  {:<5} {:<20} what",
        "address", "reserved", "committed", "resident", "perm", "owner"
    );
    for (part, usage) in merged(map) {
        let _ = writeln!(
            out,
            "{:016x} {:>10} {:>10} {:>10}  {:<5} {:<20} {}",
            part.range.start,
            units::bytes(usage.reserved_bytes),
            units::bytes(usage.committed_bytes),
            units::bytes(usage.resident_bytes),
            part.permissions,
            part.owner.id(),
            printable(&part.name)
        );
    }
    out
}

fn row(out: &mut String, name: &str, usage: &Usage) {
    let [reserved, committed, resident, swap] =
        [usage.reserved_bytes, usage.committed_bytes, usage.resident_bytes, usage.swap_bytes]
            .map(units::bytes);
    let _ = writeln!(out, "{name:<32}{reserved:>12}{committed:>12}{resident:>12}{swap:>12}");
}

/// What an owner's parts are, most resident first; none if they have one name.
fn details(map: &Map, owner: Owner) -> Vec<(String, Usage)> {
    let mut sums: BTreeMap<Cow<'_, str>, Usage> = BTreeMap::new();
    for part in map.parts.iter().filter(|part| part.owner == owner) {
        let name = match owner {
            // A library is one, whatever its sections are.
            Owner::Library => known_name(part.name.rsplit_once(' ').map_or(&*part.name, |(path, _)| path)),
            _ => Cow::Borrowed(part.name.as_str()),
        };
        sums.entry(name).or_default().add(&part.usage);
    }
    if sums.len() < 2 || owner == Owner::Kernel {
        return Vec::new();
    }
    let mut sums: Vec<_> = sums.into_iter().map(|(name, usage)| (name.into_owned(), usage)).collect();
    sums.sort_by_key(|(_, usage)| std::cmp::Reverse((usage.resident_bytes, usage.reserved_bytes)));
    sums
}

/// Parts of one owner and name that lie side by side as one, with the rights of that which holds most.
fn merged(map: &Map) -> Vec<(Part, Usage)> {
    let mut rows: Vec<(Part, Usage)> = Vec::new();
    for part in &map.parts {
        match rows.last_mut() {
            Some((last, usage))
                if last.range.end == part.range.start
                    && last.owner == part.owner
                    && last.name == part.name =>
            {
                usage.add(&part.usage);
                last.range.end = part.range.end;
                if part.usage.resident_bytes > last.usage.resident_bytes {
                    (last.permissions, last.usage) = (part.permissions.clone(), part.usage);
                }
            }
            _ => rows.push((part.clone(), part.usage)),
        }
    }
    rows
}

fn heap_json(heap: &Malloc) -> Value {
    let holdings = |holdings: &Holdings| {
        json!({
            "in_use_bytes": holdings.in_use.bytes,
            "in_use_count": holdings.in_use.count,
            "free_bytes": holdings.free_bytes(),
            "top_bytes": holdings.top_bytes,
            "largest_free_bytes": holdings.largest_free_bytes,
            "inconsistent_count": holdings.inconsistent.count,
        })
    };
    let arena = |arena: &Arena| {
        json!({
            "main": arena.is_main,
            "threads": arena.attached_threads,
            "heaps": arena.heaps.len(),
            "resident_bytes": arena.resident_bytes,
            "holds": holdings(&arena.holdings),
        })
    };
    json!({
        "holds": holdings(&heap.total()),
        "mapped_bytes": heap.mapped.amount().bytes,
        "mapped_count": heap.mapped.amount().count,
        "arenas": heap.arenas.iter().map(arena).collect::<Vec<_>>(),
    })
}

fn usage_json(usage: &Usage) -> Value {
    json!({
        "reserved_bytes": usage.reserved_bytes,
        "committed_bytes": usage.committed_bytes,
        "resident_bytes": usage.resident_bytes,
        "pss_bytes": usage.pss_bytes,
        "swap_bytes": usage.swap_bytes,
    })
}

fn with(mut object: Value, usage: &Usage) -> Value {
    if let (Some(object), Value::Object(usage)) = (object.as_object_mut(), usage_json(usage)) {
        object.extend(usage);
    }
    object
}

fn json(target: &Target, map: &Map, notes: &[String]) -> Value {
    let limit = limits::memory_limit(target.pid);
    let owner = |(owner, usage): (Owner, Usage)| {
        let details = details(map, owner).into_iter();
        let details: Vec<Value> =
            details.map(|(name, usage)| with(json!({ "name": name }), &usage)).collect();
        with(json!({ "id": owner.id(), "name": owner.name(), "details": details }), &usage)
    };
    let part = |part: &Part| {
        let range = [part.range.start, part.range.end].map(|address| format!("{address:#x}"));
        let [start, end] = range;
        let what = json!({ "start": start, "end": end, "permissions": part.permissions, "owner": part.owner.id(), "name": part.name });
        with(what, &part.usage)
    };
    let stacks: Vec<Value> = map
        .stacks
        .iter()
        .map(|stack| with(json!({ "tid": stack.tid, "name": stack.name }), &stack.usage))
        .collect();
    json!({
        "schema": "tracer.maps/1",
        "pid": target.pid,
        "comm": target.comm,
        "jvm": jvm_json(target),
        "rss_bytes": map.rss_bytes,
        "limit_bytes": limit.map(|(bytes, _)| bytes),
        "limit_used_bytes": limit.and_then(|(_, used)| used),
        "total": usage_json(&map.total()),
        "owners": map.by_owner().into_iter().map(owner).collect::<Vec<_>>(),
        "parts": map.parts.iter().map(part).collect::<Vec<_>>(),
        "thread_stacks": stacks,
        "heap": map.heap.as_ref().map(heap_json),
        "notes": notes,
    })
}
