//! A census for people: limits that are near, what is asked for beside what is resident, the findings, and then
//! everything in tables.

mod rows;

use self::rows::Rows;
use super::style::Style;
use super::text::memory::counted_again;
use super::text::verdicts;
use super::{Screen, clean, limits, of_command, table, tracking, units};
use crate::attribute::known_name;
use crate::census::Census;
use crate::census::document::{Library, Malloc, MemoryPart};
use crate::vmmap::Owner;

/// Owners in the first table; the others are one row.
const OWNERS: usize = 6;
/// Rows of a list before it is cut short, if nothing else is said.
const MAX_ROWS: usize = 8;
/// Chunks of a library from which it is listed: the dynamic linker has some of each.
const MIN_LIBRARY_BYTES: u64 = 16 << 10;

/// The census as text.
pub fn render(census: &Census, screen: Screen) -> String {
    let style = Style::new(screen.color, screen.width);
    let top = screen.top.unwrap_or(MAX_ROWS);
    let mut out = String::new();
    heading(census, style, &mut out);
    section(&mut out, |out| {
        limits::warnings(census.limits.as_deref().unwrap_or_default(), census.fits.as_ref(), style, out)
    });
    balance(census, style, &mut out);
    findings(census, style, &mut out);
    everything(census, style, &mut out);
    if let Some(malloc) = &census.census.malloc {
        arenas(malloc, census, style, top, &mut out);
        sizes(malloc, style, top, &mut out);
        libraries(census.census.libraries.as_deref().unwrap_or_default(), style, top, &mut out);
    }
    let tracked = tracking::lines(census, None, style);
    if !tracked.is_empty() {
        out.push('\n');
        out += &tracked;
    }
    if let Some(all) = &census.limits {
        out += &format!("\n{}\n", style.bold("Limits, the fullest first"));
        section(&mut out, |out| limits::listed(all, style, out));
    }
    out
}

/// Adds what `render` writes.
fn section(out: &mut String, render: impl FnOnce(&mut dyn std::io::Write) -> std::io::Result<()>) {
    let mut text = Vec::new();
    // Writing to memory does not fail.
    let _ = render(&mut text);
    out.push_str(&String::from_utf8_lossy(&text));
}

fn heading(census: &Census, style: Style, out: &mut String) {
    let target = &census.target;
    let mut text = match &census.taken.core {
        Some(core) => format!("Census of {}", clean(core)),
        None => format!("Census of {} (pid {})", of_command(&target.command, &target.comm), target.pid),
    };
    if let Some(jvm) = &target.jvm {
        text += &format!(", JVM {}", clean(&jvm.version));
        if let Some(gc) = &jvm.gc {
            text += &format!(", {}", clean(gc));
        }
    }
    if let Some(rss) = census.memory.rss_bytes {
        text += &format!(", {} resident", units::bytes(rss));
    }
    for line in verdicts::lines(&text, style.width) {
        *out += &format!("{}\n", style.bold(&line));
    }
}

/// The sum of two numbers of which one may not be known.
fn add(one: Option<u64>, other: Option<u64>) -> Option<u64> {
    match (one, other) {
        (None, None) => None,
        (one, other) => Some(one.unwrap_or(0).saturating_add(other.unwrap_or(0))),
    }
}

/// Bytes that are asked for, and the resident part of them: malloc's first, whose blocks may never have been touched.
fn balance(census: &Census, style: Style, out: &mut String) {
    let memory = &census.memory;
    if memory.parts.is_empty() {
        return;
    }
    let is_malloc =
        |part: &&MemoryPart| [Owner::MallocArena, Owner::MallocMapped].iter().any(|it| it.id() == part.id);
    let mut rows = table::new(&["", "asked for", "resident"], 1..3);
    let cell = |bytes: Option<u64>| bytes.map_or_else(|| "-".to_owned(), units::bytes);
    let resident =
        memory.parts.iter().filter(is_malloc).fold(None, |sum, part| add(sum, part.resident_bytes));
    match &census.census.malloc {
        Some(malloc) => {
            let used = malloc.all_in_use();
            let name = format!("malloc: {} blocks in use", units::count(used.count));
            rows.add_row([name, units::bytes(used.bytes), cell(resident)]);
            let free = units::bytes(malloc.all_free_bytes());
            rows.add_row(["  and free, kept by malloc".to_owned(), free, String::new()]);
        }
        None => {
            rows.add_row(["malloc: its blocks are not read".to_owned(), "-".to_owned(), cell(resident)]);
        }
    }
    let others: Vec<&MemoryPart> = memory.parts.iter().filter(|part| !is_malloc(part)).collect();
    // Unexplained memory is always told.
    let (shown, rest): (Vec<_>, Vec<_>) = others
        .into_iter()
        .enumerate()
        .partition(|(at, part)| *at < OWNERS || part.id == Owner::Unexplained.id());
    for (_, part) in &shown {
        rows.add_row([
            clean(part.name()).into_owned(),
            cell(asked_for(census, part)),
            cell(part.resident_bytes),
        ]);
    }
    if !rest.is_empty() {
        let sum = rest.iter().fold((None, None), |sum, (_, part)| {
            (add(sum.0, asked_for(census, part)), add(sum.1, part.resident_bytes))
        });
        rows.add_row([format!("{} others", rest.len()), cell(sum.0), cell(sum.1)]);
    }
    rows.add_row(["all".to_owned(), String::new(), units::bytes(memory.resident_bytes())]);
    out.push('\n');
    *out += &table::lines(&rows, style, true);
    if let Some(again) = memory.rss_counted_again_bytes {
        let lines = verdicts::lines(&counted_again(again), style.width.saturating_sub(2));
        *out += &format!("  {}\n", lines.join("\n  "));
    }
}

/// Bytes of an owner's memory that are asked for: used of the Java heap and of the code cache, committed of others.
fn asked_for(census: &Census, part: &MemoryPart) -> Option<u64> {
    let used = match Owner::from_id(&part.id) {
        Some(Owner::JavaHeap) => census.census.java_heap.as_ref().map(|heap| heap.used_bytes),
        Some(Owner::CodeCache) => census.census.code_cache.as_ref().map(|code| code.used_bytes),
        _ => None,
    };
    used.or(part.committed_bytes)
}

fn findings(census: &Census, style: Style, out: &mut String) {
    out.push('\n');
    if census.findings.is_empty() {
        *out += "Nothing stands out.\n";
    } else {
        *out += &format!("{}\n", style.bold("Findings"));
    }
    for (number, finding) in (1..).zip(&census.findings) {
        let held = finding.bytes.map_or_else(String::new, |held| format!("{}: ", units::bytes(held)));
        let lines =
            verdicts::lines(&format!("{held}{}", clean(&finding.evidence)), style.width.saturating_sub(4));
        *out += &format!("{number:>2}. {}\n", lines.join("\n    "));
        let advice = verdicts::lines(&clean(&finding.advice), style.width.saturating_sub(4));
        *out += &format!("    {}\n", advice.join("\n    "));
    }
    let untold = match census.census.malloc {
        Some(_) => "who allocated it, or whether it is still needed",
        None => "blocks of this allocator, who allocated them, or whether they are still needed",
    };
    let next = match census.taken.core {
        Some(_) => format!("A core file does not tell {untold}: record the process when it runs again."),
        None => format!("A census does not tell {untold}:\n  tracer record -p {} -d 60s", census.target.pid),
    };
    for line in next.lines() {
        // A command is one line, whatever the width.
        let is_command = line.starts_with(' ');
        let lines = if is_command { vec![line.to_owned()] } else { verdicts::lines(line, style.width) };
        *out += &format!("{}\n", lines.join("\n"));
    }
}

/// Each owner's memory, with what malloc's chunks and the JVM's own structures say of it.
fn everything(census: &Census, style: Style, out: &mut String) {
    let rows = Rows::of(census);
    *out += &format!("\n{}\n", style.bold("What is there"));
    let mut cells = table::new(&["", "bytes", "count", "resident"], 1..4);
    for row in rows.all {
        cells.add_row(row);
    }
    *out += &table::lines(&cells, style, false);
    for (name, why) in rows.unknown {
        let text = format!("{name} not known: {}", clean(&why));
        *out += &format!("  {}\n", verdicts::lines(&text, style.width.saturating_sub(4)).join("\n    "));
    }
}

fn arenas(malloc: &Malloc, census: &Census, style: Style, top: usize, out: &mut String) {
    let mut rows =
        table::new(&["malloc's arenas", "threads", "in use", "free", "top", "from kernel", "resident"], 1..7);
    let mut arenas: Vec<_> = malloc.arenas.iter().collect();
    arenas.sort_by_key(|arena| std::cmp::Reverse(arena.system_bytes));
    for arena in arenas.iter().take(top) {
        rows.add_row([
            clean(if arena.main { "main" } else { &arena.address }).into_owned(),
            units::count(arena.attached_threads),
            units::bytes(arena.in_use_bytes),
            units::bytes(arena.free_bytes),
            units::bytes(arena.top_bytes),
            units::bytes(arena.system_bytes),
            arena.resident_bytes.map_or_else(|| "-".to_owned(), units::bytes),
        ]);
    }
    out.push('\n');
    *out += &table::lines(&rows, style, false);
    let all = census.length("/census/malloc/arenas", arenas.len());
    if let Some(more) = all.checked_sub(top as u64).filter(|more| *more > 0) {
        *out += &format!("  ... and {}\n", units::counted(more, "smaller one"));
    }
}

fn sizes(malloc: &Malloc, style: Style, top: usize, out: &mut String) {
    let mut rows = table::new(&["chunk sizes in use that hold most", "bytes", "count"], 1..3);
    for class in malloc.largest_sizes.iter().take(top) {
        let name = match class.is_exact() {
            true => format!("{} bytes each", units::count(class.from_bytes)),
            false => format!("{} to {}", units::bytes(class.from_bytes), units::bytes(class.to_bytes + 16)),
        };
        rows.add_row([name, units::bytes(class.bytes), units::count(class.count)]);
    }
    out.push('\n');
    *out += &table::lines(&rows, style, false);
}

fn libraries(libraries: &[Library], style: Style, top: usize, out: &mut String) {
    let mut rows = table::new(&["chunks whose first words point into", "bytes", "count"], 1..3);
    for library in libraries.iter().filter(|library| library.bytes >= MIN_LIBRARY_BYTES).take(top) {
        rows.add_row([
            clean(&known_name(&library.path)).into_owned(),
            units::bytes(library.bytes),
            units::count(library.count),
        ]);
    }
    if rows.row_count() > 0 {
        out.push('\n');
        *out += &table::lines(&rows, style, false);
    }
}

#[cfg(test)]
mod tests {
    use unicode_width::UnicodeWidthStr;

    use super::*;
    use crate::recording::fixture;

    #[test]
    fn a_page_fits_its_width_and_says_first_what_is_resident() {
        let mut census = fixture::census(400);
        census.target.comm = "ja\u{1b}[31mva".to_owned();
        census.findings[0].evidence = "many words ".repeat(40);
        for width in [40, 60, 80, 120] {
            let text = render(&census, Screen { width, ..Screen::default() });
            assert!(text.lines().all(|line| line.width() <= width), "{width}: {text}");
            // No number is cut.
            assert!(
                !text.lines().any(|line| line.ends_with(|last: char| last.is_ascii_digit() || last == '.')
                    && line.contains("iB")
                    && line.width() == width),
                "{width}: {text}"
            );
        }
        let text = render(&census, Screen::default());
        assert!(!text.contains('\u{1b}'), "{text}");
        let at = |word: &str| text.find(word).unwrap_or_else(|| panic!("{word}: {text}"));
        assert!(at("asked for") < at("Findings") && at("Findings") < at("What is there"), "{text}");
        assert!(text.contains("tracer record -p 4711 -d 60s"), "{text}");
        assert!(text.contains("direct buffers not known: java.nio.Bits is not there"), "{text}");
    }
}
