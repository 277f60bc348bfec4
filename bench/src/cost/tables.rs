//! The results as a person reads them: what the recorder costs, and beside it what peers cost.

use super::variant::Variant;
use super::{Cost, Results, Row};
use crate::render::{left_out, number, table};

/// Variants that are compared with, in the second table.
const PEERS: [Variant; 7] = [
    Variant::Bpftrace,
    Variant::BpftraceStacks,
    Variant::Heaptrack,
    Variant::Jemalloc,
    Variant::JemallocSampled,
    Variant::AsyncProfiler,
    Variant::AsyncProfilerSampled,
];

/// Text for a figure that was not measured, in a cell.
const NOT_MEASURED: &str = "–";

pub(crate) fn tables(results: &Results) -> String {
    let mut text = format!(
        "{}, measured alternately\n\n{}\n{}",
        results.conditions.describe(),
        own(&results.pairs),
        peers(&results.pairs)
    );
    text += &left_out(&results.left_out);
    text
}

fn cost(row: &Row, variant: Variant) -> Option<&Cost> {
    row.costs.iter().find(|cost| cost.variant == variant)
}

fn ns(row: &Row, variant: Variant) -> String {
    cost(row, variant).map_or_else(|| NOT_MEASURED.to_owned(), |cost| number(cost.ns_per_pair))
}

fn times_floor(row: &Row, variant: Variant) -> String {
    cost(row, variant).map_or_else(|| NOT_MEASURED.to_owned(), |cost| format!("{:.2}", cost.times_floor))
}

fn head_of(row: &Row) -> Vec<String> {
    vec![row.workload.to_owned(), row.depth.to_string(), row.frame_count.to_string()]
}

fn own(rows: &[Row]) -> String {
    let cells = rows.iter().map(|row| {
        let mut cells = head_of(row);
        cells.extend(
            [Variant::Untraced, Variant::FloorAtEntries, Variant::Floor, Variant::FloorAtPlaces]
                .map(|variant| ns(row, variant)),
        );
        cells.extend([Variant::WithoutStacks, Variant::Recorded].map(|variant| ns(row, variant)));
        cells.push(times_floor(row, Variant::Recorded));
        cells.push(ns(row, Variant::WalkedAgain));
        cells.push(number(row.walker_ns));
        cells.push(row.walker_ns_per_frame.map_or_else(String::new, number));
        cells.extend([Variant::Sampled, Variant::Light].map(|variant| ns(row, variant)));
        cells
    });
    let head = [
        "ns for each pair",
        "depth",
        "frames",
        Variant::Untraced.name(),
        Variant::FloorAtEntries.name(),
        Variant::Floor.name(),
        Variant::FloorAtPlaces.name(),
        Variant::WithoutStacks.name(),
        Variant::Recorded.name(),
        "× floor",
        Variant::WalkedAgain.name(),
        "walker",
        "per frame",
        Variant::Sampled.name(),
        Variant::Light.name(),
    ];
    table(&head, cells)
}

/// Each peer that was measured for some workload: its ns, and in brackets the recorded pair as a multiple of them.
fn peers(rows: &[Row]) -> String {
    let there = |variant: &Variant| rows.iter().any(|row| cost(row, *variant).is_some());
    let peers: Vec<Variant> = PEERS.into_iter().filter(there).collect();
    if peers.is_empty() {
        return String::new();
    }
    let beside = |row: &Row, peer: Variant| match cost(row, peer) {
        Some(cost) => format!("{} ({:.2})", number(cost.ns_per_pair), cost.recorded_times),
        None => NOT_MEASURED.to_owned(),
    };
    let cells = rows.iter().map(|row| {
        let mut cells = head_of(row);
        cells.push(ns(row, Variant::Recorded));
        cells.extend(peers.iter().map(|peer| beside(row, *peer)));
        cells
    });
    let mut head = vec!["ns for each pair", "depth", "frames", Variant::Recorded.name()];
    head.extend(peers.iter().map(|peer| peer.name()));
    table(&head, cells)
}
