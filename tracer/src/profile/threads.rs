//! Threads: how many, by whom they were started, by their names, and what their stacks take.

use std::cmp::Reverse;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use serde::Serialize;

use super::build::{Shown, application, at, count, frames};
use super::{CallPath, SiteFrame};
use crate::attribute::{FrameTraits, Rules, Source};
use crate::process::Tid;
use crate::recording::{Recording, StackRef, Thread};
use crate::symbolize::Frame;

/// The threads of a session.
#[derive(Clone, Debug, Serialize)]
pub struct Threads {
    /// Number of threads at the end.
    pub live: u64,
    /// Number of threads that started in the session.
    pub started: u64,
    /// Number of threads that exited in the session.
    pub exited: u64,
    /// Bytes of the live ones' stacks, with guard pages. `None` if it is not known.
    pub stack_reserved_bytes: Option<u64>,
    pub stack_resident_bytes: Option<u64>,
    /// Stacks of threads that ended, kept by glibc for the next ones. `None` if it is not known.
    pub cached_stacks: Option<CachedStacks>,
    /// Creators of the threads of the session, by their number.
    pub creators: Vec<Creator>,
    /// Threads by name, a number in it being any number; the most live first.
    pub names: Vec<ThreadNames>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct CachedStacks {
    pub count: u64,
    pub reserved_bytes: u64,
    pub resident_bytes: u64,
}

/// The threads that one stack started.
#[derive(Clone, Debug, Serialize)]
pub struct Creator {
    pub count: u64,
    /// Number of them that are live at the end.
    pub live: u64,
    pub stack_reserved_bytes: u64,
    pub stack_resident_bytes: u64,
    pub frames: Vec<Arc<SiteFrame>>,
    #[serde(skip)]
    pub path: CallPath,
}

/// Threads whose names differ in numbers only.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ThreadNames {
    /// `pool-#-thread-#`.
    pub pattern: String,
    pub live: u64,
    pub started: u64,
    pub exited: u64,
    pub stack_reserved_bytes: u64,
    pub stack_resident_bytes: u64,
}

/// Memory that stacks take: reserved and resident bytes.
type Stack = (u64, u64);

pub(super) fn build(recording: &Recording, rules: &Rules, shown: &Shown) -> Threads {
    let is_live = |thread: &Thread| thread.ended_ns.is_none();
    let mut stacks: HashMap<Tid, Stack> = HashMap::new();
    let mut cached = CachedStacks::default();
    for stack in &recording.thread_stacks {
        let size = (stack.reserved_bytes, stack.resident_bytes);
        match stack.tid {
            Some(tid) => _ = stacks.insert(tid, size),
            None => {
                cached.count += 1;
                cached.reserved_bytes = cached.reserved_bytes.saturating_add(size.0);
                cached.resident_bytes = cached.resident_bytes.saturating_add(size.1);
            }
        }
    }
    let stack_of =
        |thread: &Thread| stacks.get(&thread.tid).copied().filter(|_| is_live(thread)).unwrap_or_default();
    let known = !recording.thread_stacks.is_empty();
    let sum = |part: fn(Stack) -> u64| {
        let sum = recording.threads.iter().map(|thread| part(stack_of(thread))).fold(0, u64::saturating_add);
        known.then_some(sum)
    };
    let exited = recording.threads.iter().filter(|thread| !is_live(thread)).count();
    Threads {
        live: count(recording.threads.len() - exited),
        started: count(recording.threads.iter().filter(|thread| thread.started_ns.is_some()).count()),
        exited: count(exited),
        stack_reserved_bytes: sum(|stack| stack.0),
        stack_resident_bytes: sum(|stack| stack.1),
        cached_stacks: known.then_some(cached),
        creators: creators(recording, rules, shown, &stack_of),
        names: names(recording, &stack_of),
    }
}

fn creators(
    recording: &Recording,
    rules: &Rules,
    shown: &Shown,
    stack_of: &dyn Fn(&Thread) -> Stack,
) -> Vec<Creator> {
    // Started, live, and the stacks of those.
    let mut by_stack: BTreeMap<StackRef, (u64, u64, Stack)> = BTreeMap::new();
    for thread in recording.threads.iter().filter(|thread| thread.started_ns.is_some()) {
        let Some(creator) = thread.creator else { continue };
        let sum = by_stack.entry(creator).or_default();
        let stack = stack_of(thread);
        sum.0 += 1;
        sum.1 += u64::from(thread.ended_ns.is_none());
        sum.2 = (sum.2.0.saturating_add(stack.0), sum.2.1.saturating_add(stack.1));
    }
    let application = application(recording, rules);
    let creator = |(stack, (count, live, (reserved, resident)))| {
        let stack = recording.stack(stack)?;
        let named: Vec<&Frame> =
            stack.frames.iter().filter_map(|&frame| at(&recording.frames, frame)).collect();
        let traits: Vec<FrameTraits> = named.iter().map(|frame| rules.frame(frame, &application)).collect();
        let pairs: Vec<_> = named.into_iter().zip(&traits).collect();
        let found = rules.classify(&pairs, &Source::Allocator, true);
        let path = CallPath { leaf: found.leaf, cause: found.cause, owner: found.owner };
        let frames = frames(shown, stack);
        Some(Creator {
            count,
            live,
            stack_reserved_bytes: reserved,
            stack_resident_bytes: resident,
            frames,
            path,
        })
    };
    let mut creators: Vec<Creator> = by_stack.into_iter().filter_map(creator).collect();
    creators.sort_by_key(|creator| Reverse(creator.count));
    creators
}

fn names(recording: &Recording, stack_of: &dyn Fn(&Thread) -> Stack) -> Vec<ThreadNames> {
    let mut names: BTreeMap<String, ThreadNames> = BTreeMap::new();
    for thread in &recording.threads {
        let pattern = pattern(thread.name.as_deref().unwrap_or("(no name)"));
        let row = names.entry(pattern.clone()).or_insert(ThreadNames {
            pattern,
            live: 0,
            started: 0,
            exited: 0,
            stack_reserved_bytes: 0,
            stack_resident_bytes: 0,
        });
        let stack = stack_of(thread);
        row.live += u64::from(thread.ended_ns.is_none());
        row.started += u64::from(thread.started_ns.is_some());
        row.exited += u64::from(thread.ended_ns.is_some());
        row.stack_reserved_bytes = row.stack_reserved_bytes.saturating_add(stack.0);
        row.stack_resident_bytes = row.stack_resident_bytes.saturating_add(stack.1);
    }
    let mut names: Vec<ThreadNames> = names.into_values().collect();
    names.sort_by_key(|row| Reverse((row.live, row.started, row.exited)));
    names
}

/// A name with `#` for each number, but for those that belong to a word: `G1 Conc#0` is `G1 Conc#`.
pub fn pattern(name: &str) -> String {
    let mut pattern = String::with_capacity(name.len());
    let mut rest = name;
    while let Some(start) = rest.find(|char: char| char.is_ascii_digit()) {
        let (before, number) = rest.split_at(start);
        let end = number.find(|char: char| !char.is_ascii_digit()).unwrap_or(number.len());
        let (number, after) = number.split_at(end);
        pattern.push_str(before);
        let word = pattern.rsplit(' ').next().unwrap_or_default();
        let is_word =
            word.len() == 1 && word.chars().all(|char| char.is_ascii_uppercase()) && after.starts_with(' ');
        if is_word {
            pattern.push_str(number);
        } else if !pattern.ends_with('#') {
            pattern.push('#');
        }
        rest = after;
    }
    pattern.push_str(rest);
    pattern
}

#[cfg(test)]
mod tests {
    use super::pattern;

    #[test]
    fn numbers_of_names() {
        for (name, expected) in [
            ("pool-1-thread-17", "pool-#-thread-#"),
            ("GC Thread#0", "GC Thread#"),
            ("G1 Conc#0", "G1 Conc#"),
            ("C2 CompilerThread0", "C2 CompilerThread#"),
            ("T12", "T#"),
            ("http-nio-8080-exec-3", "http-nio-#-exec-#"),
            ("main", "main"),
            ("", ""),
        ] {
            assert_eq!(pattern(name), expected);
        }
    }
}
