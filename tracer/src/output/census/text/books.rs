//! What the JVM's own books say, below the owner that each part belongs to.

use super::{MAX_ROWS, MIN_LOADERS, Page};
use crate::census::{CodeUse, Jvm};
use crate::hotspot::books::{Metaspace, Tables};
use crate::output::units::{bytes, count, counted};

impl Page {
    pub(super) fn java_heap(&mut self, jvm: &Jvm) {
        match &jvm.java_heap {
            Ok(heap) => {
                self.row(4, "used", &bytes(heap.used_bytes), "", "");
                for space in heap.spaces.iter().filter(|space| space.used_bytes > 0) {
                    let note = format!("of {}", bytes(space.capacity_bytes));
                    self.row(6, space.name, &bytes(space.used_bytes), &count(space.count), &note);
                }
            }
            Err(why) => self.row(4, "used", "-", "-", &format!("not known: {why}")),
        }
    }

    pub(super) fn buffers(&mut self, jvm: &Jvm) {
        match &jvm.direct_buffers {
            Ok(buffers) => {
                let note = if buffers.capacity_bytes == buffers.reserved_bytes {
                    "part of malloc's".to_owned()
                } else {
                    format!("part of malloc's; {} with their alignment", bytes(buffers.reserved_bytes))
                };
                self.row(2, "direct buffers", &bytes(buffers.capacity_bytes), &count(buffers.count), &note);
            }
            Err(why) => self.unknown("direct buffers", why),
        }
    }

    pub(super) fn code(&mut self, code: &CodeUse) {
        for heap in &code.heaps {
            let note = format!("used, of {} reserved", bytes(heap.reserved_bytes));
            self.row(4, &heap.name, &bytes(heap.used_bytes), &count(heap.block_count), &note);
        }
        for (tier, methods, held) in code.tiers() {
            self.row(4, &format!("methods, {tier}"), &bytes(held), &count(methods), "");
        }
        for generated in code.generated.iter().take(3) {
            let name = format!("of generated classes {}", generated.pattern);
            self.row(4, &name, &bytes(generated.bytes), &count(generated.count), "");
        }
    }

    pub(super) fn loaders(&mut self, jvm: &Jvm) {
        match &jvm.loaders {
            Ok(loaders) => {
                let classes = |count| counted(count, "class").replace("classs", "classes");
                let held = |metaspace: Option<Metaspace>| {
                    metaspace.map_or_else(|| "-".to_owned(), |metaspace| bytes(metaspace.committed_bytes))
                };
                let note = match loaders.metaspace {
                    Some(sum) => {
                        let classes = classes(loaders.class_count);
                        format!("{} used, with class space; {classes}", bytes(sum.used_bytes))
                    }
                    None => classes(loaders.class_count),
                };
                self.row(4, "class loaders", &held(loaders.metaspace), &count(loaders.count), &note);
                let many = loaders.types.iter().filter(|kind| kind.count >= MIN_LOADERS);
                for kind in many.take(MAX_ROWS) {
                    let note = classes(kind.class_count);
                    self.row(6, &kind.name, &held(kind.metaspace), &count(kind.count), &note);
                }
            }
            Err(why) => self.unknown("class loaders", why),
        }
    }

    pub(super) fn references(&mut self, jvm: &Jvm) {
        match &jvm.jni {
            Ok(jni) => {
                self.row(2, "JNI global references", &bytes(jni.global.bytes), &count(jni.global.count), "");
                self.row(2, "JNI weak global references", &bytes(jni.weak.bytes), &count(jni.weak.count), "");
            }
            Err(why) => self.unknown("JNI references", why),
        }
        match &jvm.tables {
            Ok(Tables { symbols, strings }) => {
                self.row(2, "symbols", &bytes(symbols.bytes), &count(symbols.count), "part of malloc's");
                let note = "part of malloc's; the strings are in the Java heap";
                self.row(2, "table of interned strings", &bytes(strings.bytes), &count(strings.count), note);
            }
            Err(why) => self.unknown("symbols and strings", why),
        }
        match &jvm.compile_queues {
            Ok(queues) => {
                for queue in queues {
                    self.row(2, &queue.name, "", &count(queue.length), "methods wait");
                }
            }
            Err(why) => self.unknown("compile queues", why),
        }
    }
}
