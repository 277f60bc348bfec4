//! A census for people: what stands out, then everything in one table.

mod books;

use std::fmt::Write;

use super::{ARENAS_MISSING, Heading};
use crate::attribute::known_name;
use crate::census::{Census, Finding, Library, OpenSsl, Zstd, zlib};
use crate::glibc::Malloc;
use crate::output::units::{bytes, count, counted};
use crate::output::{clean, style::Style};
use crate::vmmap::{Owner, Usage};

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
pub fn render(census: &Census, heading: &Heading, color: bool) -> String {
    let mut page = Page { out: String::new(), style: Style { color } };
    page.heading(census, heading);
    page.findings(&census.findings(), heading);
    page.table(census);
    if let Ok(malloc) = &census.native.malloc {
        page.arenas(malloc);
        page.sizes(malloc);
        page.libraries(&census.native.libraries);
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
        let jvm = census.books();
        if let Some(Err(why)) = &census.jvm {
            self.unknown("the JVM's books", why);
        }
        let rows: Vec<(Owner, Usage)> = match census.owners.is_empty() {
            false => census.owners.clone(),
            // Not known how much of each is there: the books alone.
            true => IN_BOOKS.iter().map(|owner| (*owner, Usage::default())).collect(),
        };
        for (owner, usage) in rows {
            let known = usage != Usage::default();
            if known {
                let held = bytes(usage.committed_bytes);
                self.cells(2, owner.name(), [&held, "", &bytes(usage.resident_bytes)], "");
            } else {
                self.cells(2, owner.name(), ["", "", ""], "");
            }
            match owner {
                Owner::MallocArena => {
                    self.malloc(census);
                    self.zlib(census);
                    self.zstd(census);
                    self.openssl(census);
                    self.arena_chunks(census);
                }
                Owner::JavaHeap => jvm.into_iter().for_each(|jvm| self.java_heap(jvm)),
                Owner::MallocMapped => self.mapped(census),
                Owner::ThreadStack => self.threads(census),
                Owner::CodeCache => jvm.into_iter().for_each(|jvm| self.code(&jvm.code)),
                Owner::Metaspace => jvm.into_iter().for_each(|jvm| self.loaders(jvm)),
                _ => {}
            }
        }
        if let Some(jvm) = jvm {
            self.buffers(jvm);
            self.references(jvm);
        }
        let resident: u64 = census.owners.iter().map(|(_, usage)| usage.resident_bytes).sum();
        if let Some(rss_bytes) = census.rss_bytes.filter(|_| !census.owners.is_empty()) {
            let note = format!("{} as the kernel counts it", bytes(rss_bytes));
            self.cells(2, "all", ["", "", &bytes(resident)], &note);
        }
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

    fn heading(&mut self, census: &Census, heading: &Heading) {
        let mut text = match &heading.core {
            Some(core) => format!("Census of {}", clean(&core.display().to_string())),
            None => format!("Census of {} (pid {})", clean(&heading.comm), heading.pid),
        };
        if let Some(Ok(jvm)) = &census.jvm {
            let _ = write!(text, ", JVM {}", clean(&jvm.version));
            if let Some(gc) = jvm.gc {
                let _ = write!(text, ", {gc}");
            }
        }
        if let Some(rss_bytes) = census.rss_bytes {
            let _ = write!(text, ", {} resident", bytes(rss_bytes));
        }
        let text = self.style.bold(&text);
        self.line(&text);
    }

    fn findings(&mut self, findings: &[Finding], heading: &Heading) {
        self.out.push('\n');
        if findings.is_empty() {
            self.line("Nothing stands out.");
            return;
        }
        let title = self.style.bold("Findings");
        self.line(&title);
        for (number, finding) in (1..).zip(findings) {
            let held = finding.bytes.map_or_else(String::new, |held| format!("{}: ", bytes(held)));
            let text = format!("{number:>3}. {held}{}", clean(&finding.evidence));
            self.line(&text);
            self.line(&format!("     {}", finding.advice));
            if let Some(category) = finding.category.filter(|_| heading.core.is_none()) {
                let next = format!(
                    "     who does it: tracer record -p {} -d 60s, then tracer report FILE --category {category}",
                    heading.pid
                );
                let next = self.style.dim(&next);
                self.line(&next);
            }
        }
    }

    fn malloc(&mut self, census: &Census) {
        let malloc = match &census.native.malloc {
            Ok(malloc) => malloc,
            Err(why) => return self.unknown("malloc", why),
        };
        let total = malloc.total();
        let note = format!("in {}", counted(malloc.arenas.len() as u64, "arena"));
        self.row(4, "in use", &bytes(total.in_use.bytes), &count(total.in_use.count), &note);
        let free = total.binned.count + total.fast.count + total.cached.count;
        let note = format!("{} of it in caches of threads", bytes(total.cached.bytes));
        self.row(4, "free, between what is in use", &bytes(total.free_bytes()), &count(free), &note);
        self.row(4, "free, at the top", &bytes(total.top_bytes), "", "");
        if total.inconsistent.count > 0 {
            let (held, places) = (bytes(total.inconsistent.bytes), count(total.inconsistent.count));
            self.row(4, "not consistent when it was read", &held, &places, "");
        }
        if !malloc.has_all_arenas {
            self.row(4, "arenas that are missing", "-", "-", ARENAS_MISSING);
        }
        if total.unread_bytes > 0 {
            self.row(4, "swapped out: not read", &bytes(total.unread_bytes), "", "");
        }
    }

    fn mapped(&mut self, census: &Census) {
        let Ok(malloc) = &census.native.malloc else { return };
        let mapped = malloc.mapped.amount();
        let found = malloc.mapped.found.count;
        let note = match malloc.mapped.counted {
            Some(counted) if counted.count > found => format!("{} of them found", count(found)),
            _ => String::new(),
        };
        self.row(4, "in use", &bytes(mapped.bytes), &count(mapped.count), &note);
    }

    fn zlib(&mut self, census: &Census) {
        let zlib = &census.native.zlib;
        for (sum, name) in [(zlib.inflate, "zlib inflate states"), (zlib.deflate, "zlib deflate states")] {
            if sum.count > 0 {
                self.row(4, name, &bytes(sum.bytes), &count(sum.count), "part of what is in use");
            }
        }
        for (group, sum) in &zlib.groups {
            let name = match (group.kind, group.level) {
                (zlib::Kind::Inflate, _) if !group.has_window => "inflate, without a window yet".to_owned(),
                (zlib::Kind::Inflate, _) => format!("inflate, window of {}", bytes(1 << group.window_bits)),
                (zlib::Kind::Deflate, level) => {
                    format!(
                        "deflate, level {}, window of {}",
                        level.unwrap_or(0),
                        bytes(1 << group.window_bits)
                    )
                }
            };
            self.row(6, &name, &bytes(sum.bytes), &count(sum.count), "");
        }
        for maker in census.native.zlib_makers.iter().take(MAX_ROWS) {
            let name = format!("of {}", known_name(&maker.path));
            self.row(6, &name, &bytes(maker.bytes), &count(maker.count), "");
        }
    }

    fn zstd(&mut self, census: &Census) {
        let Zstd { compress, decompress } = census.native.zstd;
        for (sum, name) in
            [(compress, "zstd contexts, compressing"), (decompress, "zstd contexts, decompressing")]
        {
            if sum.count > 0 {
                self.row(4, name, &bytes(sum.bytes), &count(sum.count), "part of what is in use");
            }
        }
    }

    fn openssl(&mut self, census: &Census) {
        let OpenSsl { contexts, connections } = census.native.openssl;
        for (sum, name) in [(contexts, "OpenSSL contexts"), (connections, "OpenSSL connections")] {
            if sum.count > 0 {
                let note = "part of what is in use, without their buffers";
                self.row(4, name, &bytes(sum.bytes), &count(sum.count), note);
            }
        }
    }

    fn arena_chunks(&mut self, census: &Census) {
        let chunks = &census.native.arena_chunks;
        let (held, number) = chunks.iter().fold((0, 0), |sum, of| (sum.0 + of.bytes, sum.1 + of.count));
        if number > 0 {
            self.row(4, "chunks of the JVM's arenas", &bytes(held), &count(number), "part of what is in use");
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
        match &census.threads {
            Ok(groups) => {
                let total = groups.iter().map(|group| group.count).sum();
                self.row(4, "threads", "", &count(total), "");
                for group in groups.iter().filter(|group| group.count > 1).take(MAX_ROWS) {
                    self.row(6, &group.name, "", &count(group.count), "");
                }
            }
            Err(why) => self.unknown("threads", why),
        }
    }

    fn arenas(&mut self, malloc: &Malloc) {
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
            let name = if arena.is_main { "main".to_owned() } else { format!("{:#x}", arena.address) };
            let holdings = &arena.holdings;
            let text = format!(
                "  {name:<18} {:>7} {:>11} {:>11} {:>11} {:>11} {:>11}",
                arena.attached_threads,
                bytes(holdings.in_use.bytes),
                bytes(holdings.free_bytes()),
                bytes(holdings.top_bytes),
                bytes(arena.system_bytes),
                arena.resident_bytes.map_or_else(|| "-".to_owned(), bytes),
            );
            self.line(&text);
        }
        if arenas.len() > MAX_ARENAS {
            self.line(&format!("  ... and {} more: --format json has all", arenas.len() - MAX_ARENAS));
        }
    }

    fn sizes(&mut self, malloc: &Malloc) {
        self.title("Chunk sizes in use that hold most", "bytes", "count", "");
        for class in malloc.sizes.largest(MAX_ROWS) {
            let name = if class.from_bytes == class.to_bytes {
                format!("{} bytes each", count(class.from_bytes))
            } else {
                format!("{} to {}", bytes(class.from_bytes), bytes(class.to_bytes + 16))
            };
            self.row(2, &name, &bytes(class.bytes), &count(class.count), "");
        }
    }
}
