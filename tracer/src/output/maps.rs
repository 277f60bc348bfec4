//! The map of a process: the sums by owner and, when asked for, every mapping; as text and as JSON (`tracer.maps/1`).

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::answer::screen::wrapped;
use super::json::jvm;
use super::style::Style;
use super::{Screen, clean, fit, of_command, table, units};
use crate::attribute::known_name;
use crate::glibc::{Arena, Holdings, Malloc};
use crate::limits::MemoryLimit;
use crate::process::{Target, error_chain};
use crate::vmmap::{Map, Owner, Part, Taken, Usage};

/// Details of an owner shown in text, if nothing else is said.
const DETAILS: usize = 6;
/// Characters that the name of a detail may take, so that a row has no more than 80.
const NAME_WIDTH: usize = 30;

/// Facts that were read of a process.
pub struct Maps<'a> {
    pub target: &'a Target,
    pub taken: &'a Taken,
    /// The memory limit of its control groups.
    pub limit: Option<MemoryLimit>,
}

impl Maps<'_> {
    /// Facts that could not be told, in sentences.
    fn notes(&self) -> Vec<String> {
        let Taken { jvm_error, cut_short, .. } = self.taken;
        let jvm = match jvm_error {
            Some(error) => Some(format!("The JVM's own parts are not told apart: {}.", error_chain(error))),
            None if self.target.jvm.is_none() => {
                Some("Not a JVM: anonymous memory is malloc's or unexplained.".to_owned())
            }
            None => None,
        };
        let cut_short = cut_short.as_ref().map(|why| format!("The map is not whole: {why}."));
        jvm.into_iter().chain(cut_short).collect()
    }
}

/// The map as text; `all`: with every mapping.
pub fn text(maps: &Maps<'_>, all: bool, screen: Screen) -> String {
    let Maps { target, taken: Taken { map, .. }, limit } = maps;
    let style = Style::new(screen.color, screen.width);
    let name = of_command(&target.command, &target.comm.to_string());
    let mut heading = format!("{name} (pid {})", target.pid);
    if let Some(rss) = map.rss_bytes {
        heading += &format!(", {} resident as the kernel counts it (RSS)", units::bytes(rss));
    }
    let mut out = String::new();
    let mut say = |text: &str, emphasized: fn(Style, &str) -> String| {
        wrapped(text, style.width).iter().for_each(|line| out += &format!("{}\n", emphasized(style, line)));
    };
    let plain = |_: Style, line: &str| line.to_owned();
    say(&heading, Style::bold);
    if let Some(MemoryLimit { limit_bytes, used_bytes }) = limit {
        let used = used_bytes.map(|used| format!(", of which its group uses {}", units::bytes(used)));
        say(&format!("memory limit {}{}", units::bytes(*limit_bytes), used.unwrap_or_default()), plain);
    }
    for note in maps.notes() {
        say(&clean(&note), plain);
    }
    out.push('\n');
    out += &sums(map, style, screen.top.unwrap_or(DETAILS));
    if let Some(heap) = &map.heap {
        let holds = heap.total();
        let text = format!(
            "malloc's arenas: {} in use by {}, {} free between them, {} free at their ends",
            units::bytes(holds.in_use.bytes),
            units::counted(holds.in_use.count, "block"),
            units::bytes(holds.free_bytes()),
            units::bytes(holds.top_bytes)
        );
        wrapped(&text, style.width).iter().for_each(|line| out += &format!("{line}\n"));
    }
    if all {
        out.push('\n');
        out += &mappings(map, style);
    } else {
        let count = units::count(merged(map).len() as u64);
        out += &format!("\n{count} mappings: tracer maps -p {} --all\n", target.pid);
    }
    out
}

fn sums(map: &Map, style: Style, top: usize) -> String {
    let mut rows = table::new(&["owner", "reserved", "committed", "resident", "swapped"], 1..5);
    let mut row = |name: String, usage: &Usage| {
        let numbers = [usage.reserved_bytes, usage.committed_bytes, usage.resident_bytes, usage.swap_bytes];
        rows.add_row([name].into_iter().chain(numbers.map(units::bytes)));
    };
    for (owner, usage) in map.by_owner() {
        row(owner.name().to_owned(), &usage);
        let details = details(map, owner);
        for (name, usage) in details.iter().take(top) {
            row(format!("  {}", fit(&clean(name), NAME_WIDTH)), usage);
        }
        if let Some(more) = details.len().checked_sub(top).filter(|more| *more > 0) {
            let mut rest = Usage::default();
            details.iter().skip(top).for_each(|(_, usage)| rest.add(usage));
            row(format!("  {} more", units::count(more as u64)), &rest);
        }
    }
    row("all".to_owned(), &map.total());
    table::lines(&rows, style, true)
}

fn mappings(map: &Map, style: Style) -> String {
    let mut rows =
        table::new(&["address", "reserved", "committed", "resident", "perm", "owner", "part"], 1..4);
    for (part, usage) in merged(map) {
        rows.add_row([
            format!("{:016x}", part.range.start),
            units::bytes(usage.reserved_bytes),
            units::bytes(usage.committed_bytes),
            units::bytes(usage.resident_bytes),
            part.permissions,
            part.owner.id().to_owned(),
            clean(&part.name).into_owned(),
        ]);
    }
    table::lines(&rows, style.unbounded(), false)
}

/// The parts of an owner, most resident first; none if they have one name.
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
    // What is one library's allocator's must say whose it is.
    if sums.len() < 2 && owner != Owner::OwnAllocator || owner == Owner::Kernel {
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

/// The map as JSON, with every mapping.
pub fn json(maps: &Maps<'_>) -> Value {
    let Maps { target, taken: Taken { map, .. }, limit } = maps;
    let owner = |(owner, usage): (Owner, Usage)| {
        let details = details(map, owner).into_iter();
        let details: Vec<Value> =
            details.map(|(name, usage)| with(json!({ "name": name }), &usage)).collect();
        with(json!({ "id": owner.id(), "name": owner.name(), "details": details }), &usage)
    };
    let part = |part: &Part| {
        let [start, end] = [part.range.start, part.range.end].map(|address| format!("{address:#x}"));
        let described = json!({
            "start": start,
            "end": end,
            "permissions": part.permissions,
            "owner": part.owner.id(),
            "name": part.name,
        });
        with(described, &part.usage)
    };
    let stacks =
        map.stacks.iter().map(|stack| with(json!({ "tid": stack.tid, "name": stack.name }), &stack.usage));
    json!({
        "schema": "tracer.maps/1",
        "pid": target.pid,
        "comm": target.comm,
        "jvm": jvm(target),
        "rss_bytes": map.rss_bytes,
        "limit_bytes": limit.map(|limit| limit.limit_bytes),
        "limit_used_bytes": limit.and_then(|limit| limit.used_bytes),
        "total": usage_json(&map.total()),
        "owners": map.by_owner().into_iter().map(owner).collect::<Vec<_>>(),
        "parts": map.parts.iter().map(part).collect::<Vec<_>>(),
        "thread_stacks": stacks.collect::<Vec<_>>(),
        "heap": map.heap.as_ref().map(heap_json),
        "notes": maps.notes(),
    })
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
