//! A census for people: what stands out, then everything in one table.

mod books;

use std::fmt::Write;

use crate::attribute::known_name;
use crate::census::document::{Census, Library, Malloc, MemoryPart, Sum};
use crate::output::units::{bytes, count, counted};
use crate::output::{clean, limits, style::Style};
use crate::vmmap::Owner;

/// Owners of which the books tell, when the mappings are not known.
const IN_BOOKS: [Owner; 5] =
    [Owner::MallocArena, Owner::MallocMapped, Owner::ThreadStack, Owner::CodeCache, Owner::Metaspace];
/// Rows of a list before it is cut short.
const MAX_ROWS: usize = 8;
const MAX_ARENAS: usize = 10;
const NAME_WIDTH: usize = 56;
/// Chunks of a library from which it is listed: the dynamic linker has some of each.
const MIN_LIBRARY_BYTES: u64 = 16 << 10;
/// Loaders of a type from which it is listed.
const MIN_LOADERS: u64 = 2;

/// The census as text.
pub fn render(census: &Census, color: bool) -> String {
    let mut page = Page { out: String::new(), style: Style { color } };
    page.heading(census);
    page.limit_warnings(census);
    page.findings(census);
    page.table(census);
    page.limits(census);
    if let Some(malloc) = &census.census.malloc {
        page.arenas(malloc, census);
        page.sizes(malloc);
        page.libraries(census.census.libraries.as_deref().unwrap_or_default());
    }
    page.out
}

struct Page {
    out: String,
    style: Style,
}

impl Page {
    /// The balance, with what the books say of each part below it.
    fn table(&mut self, census: &Census) {
        self.title("What is there", "bytes", "count", "resident");
        if let Some(why) = census.unknown.get("jvm") {
            self.unknown("the JVM's books", why);
        }
        let mut parts = census.memory.parts.clone();
        if parts.is_empty() {
            // Not known how much of each is there: the books alone.
            let part = |owner: &Owner| MemoryPart { id: owner.id().to_owned(), ..MemoryPart::default() };
            parts = IN_BOOKS.iter().map(part).collect();
        }
        for part in parts {
            let cell = |bytes_of: Option<u64>| bytes_of.map(bytes).unwrap_or_default();
            let (held, resident) = (cell(part.committed_bytes), cell(part.resident_bytes));
            self.cells(2, part.name(), [&held, "", &resident], "");
            let Some(owner) = Owner::from_id(&part.id) else { continue };
            match owner {
                Owner::MallocArena => {
                    self.malloc(census);
                    self.zlib(census);
                    self.in_chunks(census);
                }
                Owner::JavaHeap => self.java_heap(census),
                Owner::MallocMapped => self.mapped(census),
                Owner::ThreadStack => self.threads(census),
                Owner::CodeCache => census.census.code_cache.iter().for_each(|code| self.code(code)),
                Owner::Metaspace => self.loaders(census),
                _ => {}
            }
        }
        self.buffers(census);
        self.references(census);
        let memory = &census.memory;
        if let Some(rss_bytes) = memory.rss_bytes.filter(|_| !memory.parts.is_empty()) {
            let note = format!("{} as the kernel counts it", bytes(rss_bytes));
            self.cells(2, "all", ["", "", &bytes(memory.resident_bytes())], &note);
        }
    }

    fn limit_warnings(&mut self, census: &Census) {
        let limits = census.limits.as_deref().unwrap_or_default();
        let mut text = Vec::new();
        // Writing to memory does not fail.
        let _ = limits::warnings(limits, census.fits.as_ref(), self.style, &mut text);
        self.out.push_str(&String::from_utf8_lossy(&text));
    }

    fn limits(&mut self, census: &Census) {
        let Some(limits) = &census.limits else { return };
        self.out.push('\n');
        let mut text = Vec::new();
        let _ = limits::table(limits, self.style, &mut text);
        self.out.push_str(&String::from_utf8_lossy(&text));
    }

    fn line(&mut self, text: &str) {
        self.out.push_str(text.trim_end());
        self.out.push('\n');
    }

    fn row(&mut self, indent: usize, name: &str, bytes_cell: &str, count_cell: &str, note: &str) {
        self.cells(indent, name, [bytes_cell, count_cell, ""], note);
    }

    fn cells(&mut self, indent: usize, name: &str, cells: [&str; 3], note: &str) {
        let width = NAME_WIDTH - indent;
        let name: String = clean(name).chars().take(width).collect();
        let [bytes_cell, count_cell, resident] = cells;
        let text = format!(
            "{:indent$}{name:<width$} {bytes_cell:>11} {count_cell:>10} {resident:>11}  {}",
            "",
            clean(note)
        );
        self.line(&text);
    }

    fn title(&mut self, title: &str, bytes_head: &str, count_head: &str, resident: &str) {
        self.out.push('\n');
        let title = format!("{title:<NAME_WIDTH$} {bytes_head:>11} {count_head:>10} {resident:>11}");
        let title = self.style.bold(title.trim_end());
        self.line(&title);
    }

    fn unknown(&mut self, name: &str, why: &str) {
        self.row(2, name, "-", "-", &format!("not known: {why}"));
    }

    /// A row for what is not known, if there is a reason for it under `key`.
    fn unknown_key(&mut self, name: &str, key: &str, census: &Census) {
        if let Some(why) = census.unknown.get(key) {
            self.unknown(name, why);
        }
    }

    fn heading(&mut self, census: &Census) {
        let mut text = match &census.taken.core {
            Some(core) => format!("Census of {}", clean(core)),
            None => format!("Census of {} (pid {})", clean(&census.target.comm), census.target.pid),
        };
        if let Some(jvm) = &census.target.jvm {
            let _ = write!(text, ", JVM {}", clean(&jvm.version));
            if let Some(gc) = &jvm.gc {
                let _ = write!(text, ", {}", clean(gc));
            }
        }
        if let Some(rss_bytes) = census.memory.rss_bytes {
            let _ = write!(text, ", {} resident", bytes(rss_bytes));
        }
        let text = self.style.bold(&text);
        self.line(&text);
    }

    fn findings(&mut self, census: &Census) {
        self.out.push('\n');
        if census.findings.is_empty() {
            self.line("Nothing stands out.");
            return;
        }
        let title = self.style.bold("Findings");
        self.line(&title);
        for (number, finding) in (1..).zip(&census.findings) {
            let held = finding.bytes.map_or_else(String::new, |held| format!("{}: ", bytes(held)));
            let text = format!("{number:>3}. {held}{}", clean(&finding.evidence));
            self.line(&text);
            self.line(&format!("     {}", clean(&finding.advice)));
            if let Some(category) = finding.category.as_deref().filter(|_| census.taken.core.is_none()) {
                let next = format!(
                    "     who does it: tracer record -p {} -d 60s, then tracer report FILE --category {}",
                    census.target.pid,
                    clean(category)
                );
                let next = self.style.dim(&next);
                self.line(&next);
            }
        }
    }

    fn malloc(&mut self, census: &Census) {
        let Some(malloc) = &census.census.malloc else { return self.unknown_key("malloc", "malloc", census) };
        let arenas = census.length("/census/malloc/arenas", malloc.arenas.len());
        let note = format!("in {}", counted(arenas, "arena"));
        self.row(4, "in use", &bytes(malloc.in_use_bytes), &count(malloc.in_use_count), &note);
        let cached =
            malloc.cached_bytes.map(|cached| format!("{} of it in caches of threads", bytes(cached)));
        let free_count = malloc.free_count.map(count).unwrap_or_default();
        let free = bytes(malloc.free_bytes);
        self.row(4, "free, between what is in use", &free, &free_count, &cached.unwrap_or_default());
        self.row(4, "free, at the top", &bytes(malloc.top_bytes), "", "");
        if malloc.inconsistent > 0 {
            let (held, places) = (bytes(malloc.inconsistent_bytes), count(malloc.inconsistent));
            self.row(4, "not consistent when it was read", &held, &places, "");
        }
        if let Some(why) = census.unknown.get("malloc.arenas") {
            self.row(4, "arenas that are missing", "-", "-", why);
        }
        if malloc.unread_bytes > 0 {
            self.row(4, "swapped out: not read", &bytes(malloc.unread_bytes), "", "");
        }
    }

    fn mapped(&mut self, census: &Census) {
        let Some(malloc) = &census.census.malloc else { return };
        let found = malloc.mmapped_found_count.filter(|found| *found < malloc.mmapped_count);
        let note = found.map(|found| format!("{} of them found", count(found))).unwrap_or_default();
        self.row(4, "in use", &bytes(malloc.mmapped_bytes), &count(malloc.mmapped_count), &note);
    }

    fn zlib(&mut self, census: &Census) {
        let Some(zlib) = &census.census.zlib else { return };
        self.part_of_use("zlib inflate states", zlib.inflate, "");
        self.part_of_use("zlib deflate states", zlib.deflate, "");
        for group in &zlib.groups {
            let window = bytes(1_u64.checked_shl(group.window_bits.try_into().unwrap_or(64)).unwrap_or(0));
            let name = match (&*group.kind, group.level) {
                ("inflate", _) if !group.has_window => "inflate, without a window yet".to_owned(),
                (kind, None) => format!("{kind}, window of {window}"),
                (kind, Some(level)) => format!("{kind}, level {level}, window of {window}"),
            };
            self.row(6, &name, &bytes(group.bytes), &count(group.count), "");
        }
        for maker in zlib.libraries.iter().take(MAX_ROWS) {
            let name = format!("of {}", known_name(&maker.path));
            self.row(6, &name, &bytes(maker.bytes), &count(maker.count), "");
        }
    }

    /// A row for things that are among malloc's blocks in use, if there are any.
    fn part_of_use(&mut self, name: &str, sum: Sum, note: &str) {
        if sum.count > 0 {
            let note = format!("part of what is in use{note}");
            self.row(4, name, &bytes(sum.bytes), &count(sum.count), &note);
        }
    }

    fn in_chunks(&mut self, census: &Census) {
        if let Some(zstd) = census.census.zstd {
            self.part_of_use("zstd contexts, compressing", zstd.compress, "");
            self.part_of_use("zstd contexts, decompressing", zstd.decompress, "");
        }
        if let Some(openssl) = census.census.openssl {
            let note = ", without their buffers";
            self.part_of_use("OpenSSL contexts", openssl.contexts, note);
            self.part_of_use("OpenSSL connections", openssl.connections, note);
        }
        if let Some(chunks) = &census.census.jvm_arena_chunks {
            let sum = Sum { count: chunks.count, bytes: chunks.bytes };
            self.part_of_use("chunks of the JVM's arenas", sum, "");
        }
    }

    fn libraries(&mut self, libraries: &[Library]) {
        let shown = || libraries.iter().filter(|library| library.bytes >= MIN_LIBRARY_BYTES);
        if shown().next().is_none() {
            return;
        }
        self.title("Chunks in use whose first words point into", "bytes", "count", "");
        for library in shown().take(MAX_ROWS) {
            self.row(2, &known_name(&library.path), &bytes(library.bytes), &count(library.count), "");
        }
    }

    fn threads(&mut self, census: &Census) {
        let Some(threads) = &census.census.threads else {
            return self.unknown_key("threads", "threads", census);
        };
        self.row(4, "threads", "", &count(threads.count), "");
        for group in threads.groups.iter().filter(|group| group.count > 1).take(MAX_ROWS) {
            self.row(6, &group.name, "", &count(group.count), "");
        }
    }

    fn arenas(&mut self, malloc: &Malloc, census: &Census) {
        self.out.push('\n');
        let head = format!(
            "{:<20} {:>7} {:>11} {:>11} {:>11} {:>11} {:>11}",
            "malloc's arenas", "threads", "in use", "free", "top", "from kernel", "resident"
        );
        let head = self.style.bold(&head);
        self.line(&head);
        let mut arenas: Vec<_> = malloc.arenas.iter().collect();
        arenas.sort_by_key(|arena| std::cmp::Reverse(arena.system_bytes));
        for arena in arenas.iter().take(MAX_ARENAS) {
            let name = if arena.main { "main" } else { &arena.address };
            let text = format!(
                "  {:<18} {:>7} {:>11} {:>11} {:>11} {:>11} {:>11}",
                clean(name),
                arena.attached_threads,
                bytes(arena.in_use_bytes),
                bytes(arena.free_bytes),
                bytes(arena.top_bytes),
                bytes(arena.system_bytes),
                arena.resident_bytes.map_or_else(|| "-".to_owned(), bytes),
            );
            self.line(&text);
        }
        let all = census.length("/census/malloc/arenas", arenas.len());
        if let Some(more) = all.checked_sub(MAX_ARENAS as u64).filter(|more| *more > 0) {
            self.line(&format!("  ... and {}", counted(more, "smaller one")));
        }
    }

    fn sizes(&mut self, malloc: &Malloc) {
        self.title("Chunk sizes in use that hold most", "bytes", "count", "");
        for class in malloc.largest_sizes.iter().take(MAX_ROWS) {
            let name = if class.is_exact() {
                format!("{} bytes each", count(class.from_bytes))
            } else {
                format!("{} to {}", bytes(class.from_bytes), bytes(class.to_bytes + 16))
            };
            self.row(2, &name, &bytes(class.bytes), &count(class.count), "");
        }
    }
}
