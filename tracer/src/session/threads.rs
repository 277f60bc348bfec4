//! Threads: live, started and ended in the session.

use std::collections::BTreeMap;

use tracer_common::{stack::StackId, table};

use crate::process::Tid;

/// A thread of the target.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Thread {
    /// Name in full where the JVM told it, else as the kernel has it (15 bytes).
    pub name: String,
    /// `None`: before the session. `CLOCK_MONOTONIC`.
    pub started_ns: Option<u64>,
    /// `None`: still live.
    pub ended_ns: Option<u64>,
    /// The stack that created it, if that was seen.
    pub creator_stack: Option<StackId>,
}

/// Threads of the session, by (thread id, how many had that id before).
#[derive(Debug, Default)]
pub struct Threads {
    threads: BTreeMap<(Tid, u32), Thread>,
    /// The one that last had each id.
    latest: BTreeMap<Tid, u32>,
}

impl Threads {
    /// A thread that was there before the session.
    pub fn present(&mut self, tid: Tid, name: String) {
        self.insert(tid, Thread { name, ..Thread::default() });
    }

    /// A thread was created.
    pub fn started(&mut self, tid: Tid, name: String, time_ns: u64, creator_stack: Option<StackId>) {
        // The list of those that were there is made while threads start: one can be in both.
        if let Some(thread) = self.latest_mut(tid)
            && thread.ended_ns.is_none()
        {
            thread.started_ns = Some(time_ns);
            thread.creator_stack = creator_stack;
            return;
        }
        self.insert(tid, Thread { name, started_ns: Some(time_ns), ended_ns: None, creator_stack });
    }

    /// A thread ended. `name`: its last one, as the kernel had it.
    pub fn ended(&mut self, tid: Tid, name: &str, time_ns: u64) {
        if self.latest_mut(tid).is_none() {
            self.insert(tid, Thread::default());
        }
        if let Some(thread) = self.latest_mut(tid) {
            thread.ended_ns = Some(time_ns);
            if !thread.name.starts_with(name) {
                thread.name = name.to_owned();
            }
        }
    }

    /// The name of a live thread became known.
    pub fn named(&mut self, tid: Tid, name: String) {
        if let Some(thread) = self.latest_mut(tid)
            && thread.ended_ns.is_none()
        {
            thread.name = name;
        }
    }

    /// Every thread with its id.
    pub fn iter(&self) -> impl Iterator<Item = (Tid, &Thread)> {
        self.threads.iter().map(|((tid, _), thread)| (*tid, thread))
    }

    /// Takes out the threads that have ended: a program may make them without end.
    pub fn take_ended(&mut self) -> Vec<(Tid, Thread)> {
        let ended = self.threads.extract_if(.., |_, thread| thread.ended_ns.is_some());
        let ended: Vec<_> = ended.map(|((tid, _), thread)| (tid, thread)).collect();
        let threads = &self.threads;
        self.latest.retain(|tid, generation| threads.contains_key(&(*tid, *generation)));
        ended
    }

    /// Does this thread free what unreachable Java objects held?
    pub fn frees_for_the_collector(&self, tid: Tid) -> bool {
        let thread = self.latest.get(&tid).and_then(|&generation| self.threads.get(&(tid, generation)));
        thread.is_some_and(|thread| {
            let mut comm = [0; 16];
            for (to, from) in comm.iter_mut().take(15).zip(thread.name.bytes()) {
                *to = from;
            }
            table::frees_for_the_collector(table::name_words(&comm))
        })
    }

    fn insert(&mut self, tid: Tid, thread: Thread) {
        let generation = self.latest.entry(tid).and_modify(|generation| *generation += 1).or_insert(0);
        self.threads.insert((tid, *generation), thread);
    }

    fn latest_mut(&mut self, tid: Tid) -> Option<&mut Thread> {
        self.threads.get_mut(&(tid, *self.latest.get(&tid)?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_that_is_used_again_is_another_thread() {
        let mut threads = Threads::default();
        threads.present(Tid(1), "main".into());
        threads.started(Tid(2), "java".into(), 10, Some(StackId(5)));
        threads.named(Tid(2), "pool-1-thread-1".into());
        threads.ended(Tid(2), "pool-1-thread-1", 20);
        threads.started(Tid(2), "java".into(), 30, None);
        let all: Vec<_> =
            threads.iter().map(|(tid, t)| (tid, t.name.as_str(), t.started_ns, t.ended_ns)).collect();
        assert_eq!(
            all,
            [
                (Tid(1), "main", None, None),
                (Tid(2), "pool-1-thread-1", Some(10), Some(20)),
                (Tid(2), "java", Some(30), None)
            ]
        );
    }

    #[test]
    fn a_thread_that_starts_while_those_that_were_there_are_listed_is_one() {
        let mut threads = Threads::default();
        threads.present(Tid(2), "java".into());
        threads.started(Tid(2), "java".into(), 10, Some(StackId(5)));
        let all: Vec<_> =
            threads.iter().map(|(tid, thread)| (tid, thread.started_ns, thread.creator_stack)).collect();
        assert_eq!(all, [(Tid(2), Some(10), Some(StackId(5)))]);
    }

    #[test]
    fn threads_that_ended_take_no_memory_once_they_are_taken() {
        let mut threads = Threads::default();
        threads.present(Tid(1), "main".into());
        for tid in 2..10_000 {
            threads.started(Tid(tid), "java".into(), u64::from(tid), None);
            threads.ended(Tid(tid), "java", u64::from(tid) + 1);
            if tid % 100 == 0 {
                assert!((1..=100).contains(&threads.take_ended().len()));
            }
        }
        threads.take_ended();
        assert_eq!((threads.threads.len(), threads.latest.len()), (1, 1));
        // An id that was used before is that of a new thread.
        threads.started(Tid(2), "java".into(), 20_000, Some(StackId(7)));
        threads.ended(Tid(2), "java", 20_001);
        let thread = Thread {
            name: "java".into(),
            started_ns: Some(20_000),
            ended_ns: Some(20_001),
            creator_stack: Some(StackId(7)),
        };
        assert_eq!(threads.take_ended(), [(Tid(2), thread)]);
        assert!(threads.take_ended().is_empty());
    }

    #[test]
    fn threads_that_free_for_the_collector_are_known_by_their_names() {
        let mut threads = Threads::default();
        threads.present(Tid(1), "Reference Handl".into());
        threads.present(Tid(2), "java".into());
        threads.present(Tid(3), "main".into());
        assert!(threads.frees_for_the_collector(Tid(1)));
        assert!(![2, 3, 4].into_iter().any(|tid| threads.frees_for_the_collector(Tid(tid))));
        // The JVM's own name, in full.
        threads.named(Tid(2), "Reference Handler".into());
        assert!(threads.frees_for_the_collector(Tid(2)));
    }

    #[test]
    fn the_full_name_is_kept_when_the_kernel_cuts_it() {
        let mut threads = Threads::default();
        threads.present(Tid(1), "java".into());
        threads.named(Tid(1), "http-nio-8080-exec-1".into());
        threads.ended(Tid(1), "http-nio-8080-e", 3);
        assert_eq!(threads.iter().next().unwrap().1.name, "http-nio-8080-exec-1");
    }
}
