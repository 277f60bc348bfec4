//! The JVM's own thread dump, parsed.

use tracer::hotspot::readable_class_name;
use tracer::process::Tid;

/// A Java thread of a dump.
#[derive(Debug)]
pub(crate) struct Thread {
    pub(crate) name: String,
    pub(crate) tid: Tid,
    /// Innermost first.
    pub(crate) frames: Vec<String>,
}

/// Takes the lines of a dump. Threads of the JVM's own, which have no number, are left out.
pub(crate) fn threads(lines: &[String]) -> Vec<Thread> {
    let mut threads: Vec<Thread> = Vec::new();
    let mut is_java = false;
    for line in lines {
        if let Some(head) = line.strip_prefix('"') {
            let (name, rest) = head.split_once("\" ").expect("a name");
            is_java = rest.starts_with('#');
            if is_java {
                threads.push(Thread { name: name.to_owned(), tid: Tid(tid(rest)), frames: Vec::new() });
            }
        } else if is_java {
            // Behind a lock that was optimized away, the next frame's line begins without a new line.
            let frames = line.split('\t').filter_map(|part| part.strip_prefix("at ")).map(frame);
            threads.last_mut().expect("a thread comes before its frames").frames.extend(frames);
        }
    }
    threads
}

fn tid(line: &str) -> u32 {
    let nid = line.split("nid=").nth(1).and_then(|nid| nid.split(' ').next()).expect("nid");
    let tid = match nid.strip_prefix("0x") {
        Some(hex) => u32::from_str_radix(hex, 16),
        None => nid.parse(),
    };
    tid.expect("a thread id")
}

/// "pkg.Class.method (File.java:12)" of "pkg.Class.method(java.base@17/File.java:12)".
fn frame(text: &str) -> String {
    let (path, place) = text.split_once('(').expect("a place");
    let (class, method) = path.rsplit_once('.').expect("a method");
    let place = place.trim_end_matches(')');
    // The module and the loader come before the file.
    let place = place.rsplit('/').next().unwrap_or(place);
    format!("{}.{method} ({place})", readable_class_name(class))
}
