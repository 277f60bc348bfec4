//! Memory that was touched for the first time, as sampled page faults tell.

use std::io::{self, Write};

use super::{Style, label, table, units};
use crate::profile::{Estimate, Profile, TouchedSite};

/// Sites shown.
const SITES: usize = 5;
/// A site of fewer samples tells nothing.
const SAMPLES: u64 = 3;

pub(super) fn touched(profile: &Profile, style: Style, out: &mut dyn Write) -> io::Result<()> {
    let Some(touched) = &profile.touched else { return Ok(()) };
    if touched.fault_count == 0 {
        return Ok(());
    }
    writeln!(out)?;
    table::write_title("Memory first touched (sampled page faults; not part of the above)", style, out)?;
    let pages = |count: u64| units::bytes(count.saturating_mul(touched.page_bytes));
    writeln!(
        out,
        "  {} of a page: {}, {} of it in the Java heap; of the others, {} were looked at",
        units::counted(touched.fault_count, "fault"),
        pages(touched.fault_count),
        pages(touched.java_heap_fault_count),
        units::count(touched.sample_count)
    )?;
    if touched.categories.is_empty() {
        return Ok(());
    }
    let mut rows = table::new(&["category", "about", "±", "samples"], 1..4);
    let mut row = |name: &str, estimate: &Estimate| {
        rows.add_row([
            label::fit(name, 40).into_owned(),
            units::bytes(estimate.bytes),
            units::bytes(estimate.standard_error_bytes),
            units::count(estimate.sample_count),
        ]);
    };
    for category in &touched.categories {
        row(&category.id, &category.estimate);
    }
    table::write_lines(&rows, style, false, out)?;
    let telling = touched.sites.iter().filter(|site| site.estimate.sample_count >= SAMPLES);
    for site in telling.take(SITES) {
        writeln!(out, "  {}", label::fit(&sentence(site), style.width.saturating_sub(2)))?;
    }
    Ok(())
}

fn sentence(site: &TouchedSite) -> String {
    let frame = |at: Option<usize>| at.and_then(|at| site.frames.get(at)).map(AsRef::as_ref);
    let function = |at: Option<usize>| frame(at).map(label::function);
    let owner = frame(site.path.owner).filter(|_| site.path.owner != site.path.leaf).map(label::place);
    let way = [function(site.path.leaf), function(site.path.cause), owner];
    let way: Vec<String> = way.into_iter().flatten().collect();
    let way = if way.is_empty() { "(no stack)".to_owned() } else { way.join(" → ") };
    let cut = if site.complete == Some(false) { " (incomplete)" } else { "" };
    format!("about {} {}: {way}{cut}", units::bytes(site.estimate.bytes), site.category)
}
