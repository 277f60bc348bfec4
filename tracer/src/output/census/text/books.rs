//! What the JVM's own books say, below the owner that each part belongs to.

use super::{MAX_ROWS, MIN_LOADERS, Page};
use crate::census::document::{Census, CodeCache};
use crate::output::units::{bytes, count, counted};

impl Page {
    pub(super) fn java_heap(&mut self, census: &Census) {
        let Some(heap) = &census.census.java_heap else {
            return self.unknown_key("used", "java_heap", census);
        };
        self.row(4, "used", &bytes(heap.used_bytes), "", "");
        for space in heap.spaces.iter().filter(|space| space.used_bytes > 0) {
            let note = format!("of {}", bytes(space.capacity_bytes));
            self.row(6, &space.name, &bytes(space.used_bytes), &count(space.count), &note);
        }
    }

    pub(super) fn buffers(&mut self, census: &Census) {
        let Some(buffers) = &census.census.direct_buffers else {
            return self.unknown_key("direct buffers", "direct_buffers", census);
        };
        let note = if buffers.capacity_bytes == buffers.reserved_bytes {
            "part of malloc's".to_owned()
        } else {
            format!("part of malloc's; {} with their alignment", bytes(buffers.reserved_bytes))
        };
        self.row(2, "direct buffers", &bytes(buffers.capacity_bytes), &count(buffers.count), &note);
    }

    pub(super) fn code(&mut self, code: &CodeCache) {
        for heap in &code.heaps {
            let note = format!("used, of {} reserved", bytes(heap.reserved_bytes));
            self.row(4, &heap.name, &bytes(heap.used_bytes), &count(heap.blocks), &note);
        }
        for tier in &code.tiers {
            self.row(4, &format!("methods, {}", tier.tier), &bytes(tier.bytes), &count(tier.count), "");
        }
        for generated in code.generated.iter().take(3) {
            let name = format!("of generated classes {}", generated.pattern);
            self.row(4, &name, &bytes(generated.bytes), &count(generated.count), "");
        }
    }

    pub(super) fn loaders(&mut self, census: &Census) {
        let Some(types) = &census.census.class_loaders else {
            return self.unknown_key("class loaders", "class_loaders", census);
        };
        let classes = |count| counted(count, "class").replace("classs", "classes");
        let held = |metaspace: Option<u64>| metaspace.map_or_else(|| "-".to_owned(), bytes);
        if let Some(all) = census.census.class_loader_totals {
            let note = match all.metaspace_used_bytes {
                Some(used) => format!("{} used, with class space; {}", bytes(used), classes(all.classes)),
                None => classes(all.classes),
            };
            self.row(4, "class loaders", &held(all.metaspace_bytes), &count(all.count), &note);
        }
        let many = types.iter().filter(|kind| kind.count >= MIN_LOADERS);
        for kind in many.take(MAX_ROWS) {
            let note = classes(kind.classes);
            self.row(6, &kind.name, &held(kind.metaspace_bytes), &count(kind.count), &note);
        }
    }

    pub(super) fn references(&mut self, census: &Census) {
        match &census.census.jni {
            Some(jni) => {
                self.row(2, "JNI global references", &bytes(jni.global_bytes), &count(jni.global_count), "");
                self.row(2, "JNI weak global references", &bytes(jni.weak_bytes), &count(jni.weak_count), "");
            }
            None => self.unknown_key("JNI references", "jni", census),
        }
        match &census.census.symbols {
            Some(tables) => {
                let (held, number) = (bytes(tables.symbol_bytes), count(tables.symbol_count));
                self.row(2, "symbols", &held, &number, "part of malloc's");
                let note = "part of malloc's; the strings are in the Java heap";
                let (held, number) = (bytes(tables.string_bytes), count(tables.string_count));
                self.row(2, "table of interned strings", &held, &number, note);
            }
            None => self.unknown_key("symbols and strings", "symbols", census),
        }
        match &census.census.compile_queues {
            Some(queues) => {
                for queue in queues {
                    self.row(2, &queue.name, "", &count(queue.length), "methods wait");
                }
            }
            None => self.unknown_key("compile queues", "compile_queues", census),
        }
    }
}
