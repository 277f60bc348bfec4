//! Each probe's place, how the kernel gets past the instruction there, and what that saves.

use std::collections::BTreeMap;
use std::fmt::Write;

use serde_json::{Value, json};

use super::{Checked, reason};
use crate::output::clean;
use crate::probe::{
    calibrate::Cost,
    mapping_calls::SeenAt,
    placement::{InsideSite, Placement, Role},
    plan::PlannedFunction,
};
use crate::process::allocator::SkipReason;

/// List of every probe that a recording of the process would set.
pub(super) fn list(out: &mut String, checked: &Checked) {
    tables(out, "", &checked.plan.functions, checked.cost);
    tables(out, " with --probes light", &checked.plan.lifecycle, checked.cost);
    if let Some(cost) = checked.cost {
        let _ = writeln!(
            out,
            "\na probe costs the process {} on an instruction that the kernel emulates, and {} on one that it steps\n  \
             (measured on a function of tracer's own)",
            time(cost.emulated_ns),
            time(cost.single_stepped_ns)
        );
        if cost.mapping_calls == SeenAt::Functions {
            out.push_str(
                "while a process is recorded, other processes' system calls take no longer, but for those that map memory\n  \
                 (the kernel's functions for these are probed, and no tracepoint of system calls is used)\n",
            );
        }
        if let Some(system_call_ns) = cost.system_call_ns {
            let _ = writeln!(
                out,
                "while a process is recorded, every system call of every process on this host takes {} more\n  \
                 (tracepoints of the mapping calls; measured on one of tracer's own)",
                time(system_call_ns)
            );
        }
    }
    let mut skipped: BTreeMap<(&str, SkipReason), Vec<&str>> = BTreeMap::new();
    for of in &checked.plan.skipped {
        skipped.entry((&of.path, of.reason)).or_default().push(&of.name);
    }
    for ((path, why), names) in skipped {
        let _ =
            writeln!(out, "\nnot probed in {}: {}\n  {}", clean(path), reason(why), clean(&names.join(", ")));
    }
    if !checked.plan.usdt_sites.is_empty() {
        let _ = writeln!(out, "\nthe JVM's own probes, and at how many places");
        for (name, sites) in &checked.plan.usdt_sites {
            let _ = writeln!(out, "  {name:<26} {sites}");
        }
    }
}

/// Tables of the functions, one for each module; the functions come module by module.
fn tables(out: &mut String, set: &str, functions: &[PlannedFunction], cost: Option<Cost>) {
    for of_module in functions.chunk_by(|left, right| left.function.module == right.function.module) {
        let path = of_module.first().map(|planned| planned.function.path.as_str()).unwrap_or_default();
        let _ = writeln!(out, "\nprobes in {}{set}", clean(path));
        let rows: Vec<[String; 4]> = of_module.iter().flat_map(|planned| rows(planned, cost)).collect();
        let widths: [usize; 3] = std::array::from_fn(|column| {
            rows.iter()
                .map(|row| row.get(column).map_or(0, |cell| cell.chars().count()))
                .max()
                .unwrap_or(0)
                .min(48)
        });
        for [name, place, instruction, how] in rows {
            let [first, second, third] = widths;
            let _ = writeln!(out, "  {name:<first$}  {place:<second$}  {instruction:<third$}  {how}");
        }
    }
}

/// Rows of each place: function, address, instruction, and how the kernel gets past it.
fn rows(planned: &PlannedFunction, cost: Option<Cost>) -> Vec<[String; 4]> {
    if planned.inside.is_empty() {
        return vec![row(planned, cost)];
    }
    let name = clean(&planned.function.names.join(", ")).into_owned();
    let row = |inside: &InsideSite| {
        let place = &inside.placement;
        [
            format!("{name} (inside)"),
            address(place),
            place.instruction_text.clone(),
            format!("emulated; {}", known(inside.role)),
        ]
    };
    planned.inside.iter().map(row).collect()
}

/// Values that a probe inside a function finds.
fn known(role: Role) -> &'static str {
    match role {
        Role::Whole => "size and address are known: no entry, no return",
        Role::Size => "the size is noted, and the address known later",
        Role::Address => "the address is known, and the size was noted",
    }
}

fn address(place: &Placement) -> String {
    format!("{:#x} ({:+})", place.vaddr, place.offset_from_entry)
}

/// Row of a function that is probed at its entry.
fn row(PlannedFunction { function, placement, .. }: &PlannedFunction, cost: Option<Cost>) -> [String; 4] {
    let name = clean(&function.names.join(", ")).into_owned();
    let name = if function.function.allocates() { format!("{name} (and return)") } else { name };
    match placement {
        Ok(placement) => [name, address(placement), placement.instruction_text.clone(), how(placement, cost)],
        Err(error) => [name, format!("{:#x}", function.vaddr), String::new(), format!("not probed: {error}")],
    }
}

/// Way in which the kernel gets past the instruction, and what that saves.
fn how(placement: &Placement, cost: Option<Cost>) -> String {
    let times = match cost {
        Some(cost) => format!("{:.1} times dearer", cost.ratio()),
        None => "several times dearer".to_owned(),
    };
    match &placement.stepped_at_entry {
        Some(instruction) => format!("emulated; at the entry: {instruction}, single-stepped, {times}"),
        None if placement.emulated => "emulated".to_owned(),
        None => format!("single-stepped, {times} than an emulated one"),
    }
}

fn time(nanoseconds: u64) -> String {
    if nanoseconds < 1_000 {
        format!("{nanoseconds} ns")
    } else {
        format!("{:.1} µs", nanoseconds as f64 / 1_000.0)
    }
}

/// JSON of these functions. `saves_ns`: for each call, against a probe at the entry.
pub(super) fn json(functions: &[PlannedFunction], cost: Option<Cost>) -> Vec<Value> {
    let role = |role: Role| match role {
        Role::Whole => "size-and-address",
        Role::Size => "size",
        Role::Address => "address",
    };
    let inside = |inside: &InsideSite| {
        json!({
            "knows": role(inside.role),
            "vaddr": inside.placement.vaddr,
            "file_offset": inside.placement.file_offset,
            "offset_from_entry": inside.placement.offset_from_entry,
            "instruction": inside.placement.instruction_text,
        })
    };
    let probe = |PlannedFunction { function, placement, inside: places }: &PlannedFunction| {
        let place = placement.as_ref().ok();
        let stepped = place.and_then(|place| place.stepped_at_entry.as_ref());
        let saves = cost.filter(|_| place.is_some()).map(|cost| match stepped {
            Some(_) => cost.single_stepped_ns.saturating_sub(cost.emulated_ns),
            None => 0,
        });
        json!({
            "function": function.function.name(),
            "names": function.names,
            "module": function.path,
            "entry": function.vaddr,
            "return_probe": function.function.allocates() && places.is_empty(),
            "inside": places.iter().map(inside).collect::<Vec<_>>(),
            "vaddr": place.map(|place| place.vaddr),
            "file_offset": place.map(|place| place.file_offset),
            "offset_from_entry": place.map(|place| place.offset_from_entry),
            "instruction": place.map(|place| &place.instruction_text),
            "emulated": place.map(|place| place.emulated),
            "stepped_at_entry": stepped,
            "saves_ns": saves,
            "error": placement.as_ref().err().map(ToString::to_string),
        })
    };
    functions.iter().map(probe).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_place_saves_is_told() {
        let placement = |stepped: Option<&str>, emulated| Placement {
            vaddr: 0x1003,
            file_offset: 0x1003,
            instruction_text: "je 0x1010".to_owned(),
            emulated,
            offset_from_entry: 3,
            stepped_at_entry: stepped.map(str::to_owned),
        };
        let cost = Some(Cost {
            emulated_ns: 700,
            single_stepped_ns: 6_650,
            mapping_calls: SeenAt::Tracepoints,
            system_call_ns: Some(64),
        });
        let moved = placement(Some("test rdi, rdi"), true);
        assert_eq!(
            how(&moved, cost),
            "emulated; at the entry: test rdi, rdi, single-stepped, 9.5 times dearer"
        );
        assert!(how(&moved, None).ends_with("single-stepped, several times dearer"));
        assert_eq!(how(&placement(None, true), cost), "emulated");
        assert_eq!(
            how(&placement(None, false), cost),
            "single-stepped, 9.5 times dearer than an emulated one"
        );
    }
}
