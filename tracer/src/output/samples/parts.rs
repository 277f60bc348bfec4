//! Memory that a site has live, in parts that labels tell apart: by thread, and by who keeps it.
//!
//! A recording knows both, but not which thread's part is holder by whom. Where several threads and several holders have
//! a site's memory, its parts are those of the threads, and each names the holders that there are.

use std::borrow::Cow;
use std::collections::HashMap;

use super::Key;
use crate::output::holders::in_words;
use crate::output::label;
use crate::profile::{HolderShare, SiteThread};

/// Threads of a site that have samples of their own, at most.
const THREADS: usize = 32;
/// Holders of a site that have samples of their own, at most.
const HOLDERS: usize = 32;
/// Holders that one label names, at most.
const NAMED: usize = 3;
/// Columns of a holder's path: its root, and as much of its end as there is room for.
const PATH_WIDTH: usize = 120;

/// A part of what is live.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Part<'a> {
    pub(super) labels: Vec<(Key, Cow<'a, str>)>,
    pub(super) count: u64,
    pub(super) bytes: u64,
}

impl Part<'_> {
    fn is_all(&self, (count, bytes): (u64, u64)) -> bool {
        self.count >= count && self.bytes >= bytes
    }
}

/// The parts of `live` allocations and bytes. The last one takes what the others leave: each counts for no more than is
/// left by those before it.
pub(super) fn of_live<'a>(
    threads: &'a [SiteThread],
    holders: Option<&[HolderShare]>,
    live: (u64, u64),
) -> Vec<Part<'a>> {
    let threads = of_threads(threads);
    let holders = of_holders(holders.unwrap_or_default());
    match (&threads[..], &holders[..]) {
        (_, []) => threads,
        ([], _) => holders,
        ([thread], _) if thread.is_all(live) => crossed(&holders, thread),
        (_, [holder]) if holder.is_all(live) => crossed(&threads, holder),
        _ => {
            let (count, bytes) = live;
            let labels = vec![(Key::Holder, any_of(&holders).into())];
            crossed(&threads, &Part { labels, count, bytes })
        }
    }
}

/// The parts, each with the labels of what all of them are; and that itself, for what they leave.
fn crossed<'a>(parts: &[Part<'a>], whole: &Part<'a>) -> Vec<Part<'a>> {
    let with_whole = |part: &Part<'a>| {
        let labels = part.labels.iter().chain(&whole.labels).cloned().collect();
        Part { labels, ..*part }
    };
    parts.iter().map(with_whole).chain([whole.clone()]).collect()
}

fn of_threads<'a>(threads: &'a [SiteThread]) -> Vec<Part<'a>> {
    let part = |thread: &'a SiteThread| {
        let SiteThread { name, live_bytes, live_count } = thread;
        Part { labels: vec![(Key::Thread, label::clean(name))], count: *live_count, bytes: *live_bytes }
    };
    threads.iter().take(THREADS).map(part).collect()
}

/// A part for each holder; those that are told by the same words are one.
fn of_holders<'a>(holders: &[HolderShare]) -> Vec<Part<'a>> {
    let mut parts: Vec<Part<'a>> = Vec::new();
    let mut places: HashMap<String, usize> = HashMap::new();
    for holder in holders {
        let words = in_words(holder.state, &holder.path, PATH_WIDTH);
        let place = *places.entry(words).or_insert_with_key(|words| {
            let labels = vec![(Key::Holder, words.clone().into())];
            parts.push(Part { labels, count: 0, bytes: 0 });
            parts.len() - 1
        });
        if let Some(part) = parts.get_mut(place) {
            part.count = part.count.saturating_add(holder.count);
            part.bytes = part.bytes.saturating_add(holder.bytes);
        }
    }
    parts.truncate(HOLDERS);
    parts
}

/// `this or that`.
fn any_of(holders: &[Part<'_>]) -> String {
    let words = holders.iter().flat_map(|holder| &holder.labels).map(|(_, words)| words.as_ref());
    let more = (holders.len() > NAMED).then_some("others");
    words.take(NAMED).chain(more).collect::<Vec<_>>().join(" or ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::holders::{HolderState, Step, StepKind};

    fn thread(name: &str, live_count: u64) -> SiteThread {
        SiteThread { name: name.into(), live_bytes: 10 * live_count, live_count }
    }

    fn holder(field: &str, count: u64) -> HolderShare {
        let step = Step { kind: StepKind::Static, class: Some("a.B".into()), name: Some(field.into()) };
        HolderShare::of(0, HolderState::Held, vec![step].into(), count, 10 * count)
    }

    fn labels_of(threads: &[SiteThread], holders: &[HolderShare]) -> Vec<(String, u64)> {
        let parts = of_live(threads, Some(holders), (10, 100));
        let labels = |part: &Part<'_>| {
            let values: Vec<&str> = part.labels.iter().map(|(_, value)| value.as_ref()).collect();
            (values.join("; "), part.count)
        };
        parts.iter().map(labels).collect()
    }

    #[test]
    fn what_one_has_whole_is_told_of_each_part_of_the_other() {
        let both = labels_of(&[thread("main", 10)], &[holder("X", 6), holder("Y", 3)]);
        let row = |labels: &str, count| (labels.to_owned(), count);
        // One block is gone since: its thread is known.
        assert_eq!(both, [row("static a.B.X; main", 6), row("static a.B.Y; main", 3), row("main", 10)]);
        let both = labels_of(&[thread("main", 4), thread("pool", 5)], &[holder("X", 7), holder("X", 3)]);
        assert_eq!(
            both,
            [row("main; static a.B.X", 4), row("pool; static a.B.X", 5), row("static a.B.X", 10)]
        );
    }

    #[test]
    fn which_thread_s_part_is_whose_is_not_made_up() {
        let both = labels_of(&[thread("main", 4), thread("pool", 6)], &[holder("X", 7), holder("Y", 3)]);
        let holders = "static a.B.X or static a.B.Y";
        let expected =
            [(format!("main; {holders}"), 4), (format!("pool; {holders}"), 6), (holders.to_owned(), 10)];
        assert_eq!(both, expected);
        assert_eq!(labels_of(&[], &[holder("X", 7)]), [("static a.B.X".to_owned(), 7)]);
        assert_eq!(labels_of(&[thread("main", 4)], &[]), [("main".to_owned(), 4)]);
    }
}
