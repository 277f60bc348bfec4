//! Reading JSON reports, and what must hold in each.

use serde_json::Value;

/// A report with frames where it has indices into its table of frames.
pub(crate) fn with_frames(mut report: Value) -> Value {
    let table = report["frames"].as_array().cloned().unwrap_or_default();
    let expand = |row: &mut Value| {
        for frame in row["frames"].as_array_mut().into_iter().flatten() {
            let at = frame.as_u64().and_then(|at| usize::try_from(at).ok()).expect("an index");
            *frame = table.get(at).unwrap_or_else(|| panic!("no frame {at}")).clone();
        }
    };
    report["sites"].as_array_mut().into_iter().flatten().for_each(expand);
    report["threads"]["creators"].as_array_mut().into_iter().flatten().for_each(expand);
    report
}

/// The six totals that every row has.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Totals {
    pub(crate) allocated_bytes: u64,
    pub(crate) allocated_count: u64,
    pub(crate) freed_bytes: u64,
    pub(crate) freed_count: u64,
    pub(crate) live_bytes: u64,
    pub(crate) live_count: u64,
}

impl Totals {
    pub(crate) fn of(row: &Value) -> Totals {
        Totals {
            allocated_bytes: number(row, "allocated_bytes"),
            allocated_count: number(row, "allocated_count"),
            freed_bytes: number(row, "freed_bytes"),
            freed_count: number(row, "freed_count"),
            live_bytes: number(row, "live_bytes"),
            live_count: number(row, "live_count"),
        }
    }

    /// Totals that a test program says of itself.
    pub(crate) fn of_truth(truth: &Value) -> Totals {
        let mut totals = Totals {
            allocated_bytes: number(truth, "allocated_bytes"),
            allocated_count: number(truth, "allocated_count"),
            freed_bytes: number(truth, "freed_bytes"),
            freed_count: number(truth, "freed_count"),
            ..Totals::default()
        };
        totals.live_bytes = totals.allocated_bytes - totals.freed_bytes;
        totals.live_count = totals.allocated_count - totals.freed_count;
        totals
    }

    pub(crate) fn sum<'a>(rows: impl IntoIterator<Item = &'a Value>) -> Totals {
        rows.into_iter().map(Totals::of).fold(Totals::default(), |a, b| Totals {
            allocated_bytes: a.allocated_bytes + b.allocated_bytes,
            allocated_count: a.allocated_count + b.allocated_count,
            freed_bytes: a.freed_bytes + b.freed_bytes,
            freed_count: a.freed_count + b.freed_count,
            live_bytes: a.live_bytes + b.live_bytes,
            live_count: a.live_count + b.live_count,
        })
    }
}

/// A whole number of a row; fails when it is absent, negative or something else.
pub(crate) fn number(row: &Value, key: &str) -> u64 {
    row[key].as_u64().unwrap_or_else(|| panic!("{key} is not a count or size: {row}"))
}

pub(crate) fn rows<'a>(report: &'a Value, key: &str) -> &'a [Value] {
    report[key].as_array().unwrap_or_else(|| panic!("the report has no {key}"))
}

/// Sites or categories of one source: `allocator` or `mapping`.
pub(crate) fn of_source<'a>(report: &'a Value, key: &str, source: &str) -> Vec<&'a Value> {
    rows(report, key).iter().filter(|row| row["source"] == source).collect()
}

/// The allocator's row of a category.
pub(crate) fn category(report: &Value, id: &str) -> Totals {
    let found: Vec<_> =
        of_source(report, "categories", "allocator").into_iter().filter(|row| row["id"] == id).collect();
    let ids: Vec<_> = rows(report, "categories").iter().map(|row| &row["id"]).collect();
    assert_eq!(found.len(), 1, "one row of category {id} among {ids:?}");
    Totals::of(found[0])
}

/// The sites whose stack has a function with this name, or ending in it.
pub(crate) fn sites_through<'a>(report: &'a Value, source: &str, function: &str) -> Vec<&'a Value> {
    let passes = |frame: &Value| frame["function"].as_str().is_some_and(|name| name.ends_with(function));
    of_source(report, "sites", source)
        .into_iter()
        .filter(|site| site["frames"].as_array().is_some_and(|frames| frames.iter().any(passes)))
        .collect()
}

/// Conditions that hold in every report of a recording that lost nothing.
pub(crate) fn assert_sound(report: &Value) {
    assert_eq!(report["schema"], "tracer.report/2");
    assert_nothing_lost(report);
    assert_balanced(report);
}

/// No way in which something can be lost was taken.
pub(crate) fn assert_nothing_lost(report: &Value) {
    let lost = report["trust"]["lost"].as_object().expect("trust.lost is an object");
    let taken: Vec<_> = lost.iter().filter(|(_, count)| count.as_u64() != Some(0)).collect();
    assert!(taken.is_empty(), "lost: {taken:?}");
}

/// live = allocated − freed in every row, and the parts add up to the whole.
pub(crate) fn assert_balanced(report: &Value) {
    let totals = &report["totals"];
    for row in rows(report, "categories").iter().chain(rows(report, "sites")).chain([totals]) {
        let Totals { allocated_bytes, allocated_count, freed_bytes, freed_count, live_bytes, live_count } =
            Totals::of(row);
        assert_eq!(Some(live_bytes), allocated_bytes.checked_sub(freed_bytes), "bytes of {row}");
        assert_eq!(Some(live_count), allocated_count.checked_sub(freed_count), "counts of {row}");
    }
    for key in ["by_line", "categories", "sites"] {
        let sum = Totals::sum(of_source(report, key, "allocator"));
        assert_eq!(sum, Totals::of(totals), "the {key} add up to the totals");
    }
}
