//! Garbage collections as the JVM's probes tell them: some begin inside others (a full collection in a
//! young one that failed), and the end of one may be all that was seen.

/// A garbage collection. Times are `CLOCK_MONOTONIC`, ns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Collection {
    pub begin_ns: u64,
    /// `None`: it has not ended.
    pub end_ns: Option<u64>,
    /// The whole heap: while the application stood still, or in the cycle of a concurrent collector that began with
    /// this pause or later.
    pub full: bool,
}

/// The collections of a session.
#[derive(Debug, Default)]
pub struct Collections {
    ended: Vec<Collection>,
    /// The innermost last.
    under_way: Vec<Collection>,
    /// Number of `ended` that were given out by [`Collections::take_ended`].
    taken: usize,
    cycles: Cycles,
    /// Ended collections with which a whole cycle began, as it turned out later.
    became_full: Vec<Collection>,
}

/// Pauses of a concurrent collector up to when the JVM's counters were last read.
#[derive(Debug, Default)]
struct Cycles {
    last: Option<(u64, u64)>,
    /// Pauses of a cycle were seen since: the time and count before the first of them.
    since: Option<(u64, u64)>,
}

impl Collections {
    /// Takes in that a collection began.
    pub fn begin(&mut self, time_ns: u64, full: bool) {
        self.under_way.push(Collection { begin_ns: time_ns, end_ns: None, full });
    }

    /// The innermost one ended.
    pub fn end(&mut self, time_ns: u64) {
        let begun = self.under_way.pop();
        let collection = begun.unwrap_or(Collection { begin_ns: time_ns, end_ns: None, full: false });
        self.ended.push(Collection { end_ns: Some(time_ns), ..collection });
    }

    /// Takes in that a concurrent collector had paused so often at `time_ns`; a cycle has `pauses_per_cycle` at most. A
    /// cycle is over when the count stands still, or has moved so far that a whole one lies in between.
    pub fn paused(&mut self, time_ns: u64, count: u64, pauses_per_cycle: u64) {
        let Some(last) = self.cycles.last.replace((time_ns, count)) else { return };
        let moved = count != last.1;
        if moved {
            self.cycles.since.get_or_insert(last);
        }
        let Some((since_ns, before)) = self.cycles.since else { return };
        if moved && count.saturating_sub(before) < pauses_per_cycle.saturating_mul(2) {
            return;
        }
        self.cycles.since = None;
        // The earliest that may be its first: what was born later counts as not looked at.
        if let Some(first) = self.ended.iter_mut().find(|collection| collection.begin_ns >= since_ns) {
            first.full = true;
            self.became_full.push(*first);
        }
    }

    /// Collections of which it turned out since the last call that they began a cycle which looked at the whole heap.
    pub fn take_full(&mut self) -> Vec<Collection> {
        std::mem::take(&mut self.became_full)
    }

    /// Number of collections that ended.
    pub fn ended_count(&self) -> usize {
        self.ended.len()
    }

    /// Collections that ended since the last call.
    pub fn take_ended(&mut self) -> &[Collection] {
        let from = std::mem::replace(&mut self.taken, self.ended.len());
        self.ended.get(from..).unwrap_or_default()
    }

    /// Collections under way.
    pub fn under_way(&self) -> &[Collection] {
        &self.under_way
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cycle_is_whole_when_its_pauses_are_over() {
        let mut collections = Collections::default();
        let pause = |collections: &mut Collections, begin_ns| {
            collections.begin(begin_ns, false);
            collections.end(begin_ns + 1);
        };
        let full = |collections: &mut Collections| -> Vec<u64> {
            collections.take_full().iter().map(|collection| collection.begin_ns).collect()
        };
        pause(&mut collections, 5);
        collections.paused(100, 3, 3);
        // A pause of a young collection, then two of a cycle's three; the third comes after the next look.
        for at in [120, 130, 140] {
            pause(&mut collections, at);
        }
        collections.paused(200, 5, 3);
        assert!(full(&mut collections).is_empty());
        pause(&mut collections, 210);
        collections.paused(300, 6, 3);
        assert!(full(&mut collections).is_empty());
        collections.paused(400, 6, 3);
        assert_eq!(full(&mut collections), [120]);
        // They follow one another without a rest.
        for at in [410, 420, 510, 520] {
            pause(&mut collections, at);
        }
        collections.paused(500, 9, 3);
        collections.paused(600, 12, 3);
        assert_eq!(full(&mut collections), [410]);
        assert!(collections.take_ended().iter().filter(|collection| collection.full).count() == 2);
    }

    #[test]
    fn a_collection_within_another_ends_first() {
        let mut collections = Collections::default();
        collections.begin(10, false);
        collections.begin(11, true);
        collections.end(20);
        assert_eq!(collections.take_ended(), [Collection { begin_ns: 11, end_ns: Some(20), full: true }]);
        assert_eq!(collections.under_way().len(), 1);
        collections.end(21);
        assert_eq!(collections.take_ended(), [Collection { begin_ns: 10, end_ns: Some(21), full: false }]);
        assert!(collections.take_ended().is_empty() && collections.under_way().is_empty());
        // It began before the session.
        collections.end(30);
        assert_eq!(collections.take_ended(), [Collection { begin_ns: 30, end_ns: Some(30), full: false }]);
        assert_eq!(collections.ended_count(), 3);
    }
}
