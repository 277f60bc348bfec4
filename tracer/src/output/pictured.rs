//! Stacks as pictures show them: with lines of code, and without what hides the code.
//!
//! Takes the frames of a site; gives levels. Frames of the JVM and of threads' beginnings are left out where there are
//! others, recursion is there once, and what a nameless leaf asked for is its caller's. No bytes are left out with them.

use super::calls::Calls;
use super::kind::{Kind, is_nameless};
use super::stacks::{Level, level, missing_root};
use super::{Options, stacks};
use crate::profile::SiteFrame;

/// Functions that call each other in a circle, at most, of recursion that is told as such.
const LONGEST_CIRCLE: usize = 8;

/// The levels of a site, root first, or leaf first if they are inverted; with `verbose` all of them.
pub(super) fn levels(site: Calls<'_>, options: &Options) -> Vec<Level> {
    let options = &Options { lines: true, ..options.clone() };
    if options.verbose {
        return stacks::levels(site, options);
    }
    let mut frames: Vec<&SiteFrame> = site.frames.iter().map(AsRef::as_ref).collect();
    fold(&mut frames);
    let mut levels = Vec::with_capacity(frames.len() + 1);
    levels.extend(missing_root(site).map(|name| Level { name, kind: Kind::Missing }));
    levels.extend(once(frames.into_iter().rev()).into_iter().map(|frame| level(frame, options)));
    if options.inverted {
        levels.reverse();
    }
    levels
}

/// Leaves out what is nobody's to change. A stack that has nothing else keeps what it has.
fn fold(frames: &mut Vec<&SiteFrame>) {
    let is_entry = |frame: &&SiteFrame| Kind::of(frame) == Kind::Entry;
    let is_plain = |frame: &&SiteFrame| !is_entry(frame) && Kind::of(frame) != Kind::Jvm;
    if !frames.iter().any(is_plain) {
        if !frames.iter().all(is_entry) {
            frames.retain(|frame| !is_entry(frame));
        }
        return;
    }
    frames.retain(is_plain);
    if let Some(named) = frames.iter().position(|frame| !is_nameless(frame)) {
        frames.drain(..named);
    }
}

/// Each circle of calls once: its last turn, which is the one that led on.
fn once<'a>(frames: impl Iterator<Item = &'a SiteFrame>) -> Vec<&'a SiteFrame> {
    let same =
        |one: &&SiteFrame, other: &&SiteFrame| one.function == other.function && one.kind == other.kind;
    let mut shown: Vec<&SiteFrame> = Vec::new();
    for frame in frames {
        shown.push(frame);
        let turns = |length: &usize| {
            let (before, last) = (shown.len().checked_sub(2 * length)?, shown.len() - length);
            let (one, other) = (shown.get(before..last)?, shown.get(last..)?);
            one.iter().zip(other).all(|(one, other)| same(one, other)).then_some(before..last)
        };
        if let Some(turn) = (1..=LONGEST_CIRCLE).find_map(|length| turns(&length)) {
            shown.drain(turn);
        }
    }
    shown
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::profile::CallPath;
    use crate::symbolize::{Frame, FrameKind};

    fn frame(function: &str, module: &str, line: u32) -> Arc<SiteFrame> {
        let kind = if module.is_empty() { FrameKind::Java } else { FrameKind::Native };
        Arc::new(SiteFrame {
            module: Some(module.to_owned()).filter(|module| !module.is_empty()),
            line: Some(line).filter(|&line| line > 0),
            ..SiteFrame::from(&Frame::named(function, kind))
        })
    }

    /// The names of the levels, root first.
    fn shown(root_first: &[(&str, &str, u32)], options: &Options) -> Vec<String> {
        let frames: Vec<_> =
            root_first.iter().rev().map(|(name, module, line)| frame(name, module, *line)).collect();
        let site = Calls { frames: &frames, path: CallPath::default(), complete: Some(true), stop: None };
        levels(site, options).into_iter().map(|level| level.name).collect()
    }

    const JAVA: [(&str, &str, u32); 8] = [
        ("clone3", "/lib/libc.so.6", 81),
        ("ThreadJavaMain", "/jdk/lib/libjli.so", 0),
        ("JavaCalls::call_helper", "/jdk/lib/server/libjvm.so", 0),
        ("com.acme.Feed.open", "", 17),
        ("java.util.zip.Inflater.init", "", 9),
        ("Java_java_util_zip_Inflater_init", "/jdk/lib/libzip.so", 0),
        ("[unknown: no symbol]", "/lib/libz.so.1", 0),
        ("[unknown: no symbol]", "/lib/libz.so.1", 0),
    ];

    #[test]
    fn frames_of_the_jvm_are_folded_and_nameless_leaves_are_their_callers() {
        let names =
            ["com.acme.Feed.open:17", "java.util.zip.Inflater.init:9", "Java_java_util_zip_Inflater_init"];
        assert_eq!(shown(&JAVA, &Options::default()), names);
        let inverted: Vec<&str> = names.into_iter().rev().collect();
        assert_eq!(shown(&JAVA, &Options { inverted: true, ..Options::default() }), inverted);
        let whole = shown(&JAVA, &Options { verbose: true, ..Options::default() });
        assert_eq!(whole.len(), JAVA.len());
        assert_eq!(whole.last().map(String::as_str), Some("[unknown: no symbol] (libz.so.1)"));
    }

    #[test]
    fn a_stack_that_has_nothing_else_keeps_what_it_has() {
        let jvm = [("clone3", "/lib/libc.so.6", 81), ("CompileBroker::loop", "/jdk/libjvm.so", 0)];
        assert_eq!(shown(&jvm, &Options::default()), ["CompileBroker::loop"]);
        assert_eq!(shown(&jvm[..1], &Options::default()), ["clone3:81"]);
        let nameless =
            [jvm[0], ("[unknown: no symbol]", "/opt/a.so", 0), ("[unknown: no symbol]", "/opt/a.so", 0)];
        assert_eq!(shown(&nameless, &Options::default()), ["[unknown: no symbol] (a.so)"]);
        assert_eq!(shown(&[], &Options::default()), Vec::<String>::new());
    }

    #[test]
    fn recursion_is_there_once_with_the_turn_that_led_on() {
        let mut calls = vec![("Main.run", "", 1)];
        for turn in 0..25 {
            calls.extend([("Chain.proceed", "", 10 + turn), ("Filter.intercept", "", 5)]);
        }
        calls.push(("Leaf.open", "", 3));
        assert_eq!(
            shown(&calls, &Options::default()),
            ["Main.run:1", "Chain.proceed:34", "Filter.intercept:5", "Leaf.open:3"]
        );
        let own = [("A.a", "", 1), ("A.a", "", 1), ("A.a", "", 2), ("B.b", "", 1)];
        assert_eq!(shown(&own, &Options::default()), ["A.a:2", "B.b:1"]);
    }
}
