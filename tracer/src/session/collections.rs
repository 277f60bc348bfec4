//! Garbage collections as the JVM's probes tell them: some begin inside others (a full collection in a
//! young one that failed), and the end of one may be all that was seen.

/// A garbage collection. Times are `CLOCK_MONOTONIC`, ns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Collection {
    pub begin_ns: u64,
    /// `None`: it has not ended.
    pub end_ns: Option<u64>,
    /// The whole heap, while the application stood still.
    pub full: bool,
}

/// The collections of a session.
#[derive(Debug, Default)]
pub struct Collections {
    ended: Vec<Collection>,
    /// The innermost last.
    under_way: Vec<Collection>,
    /// Of `ended`: given by [`Collections::take_ended`].
    taken: usize,
}

impl Collections {
    /// One began.
    pub fn begin(&mut self, time_ns: u64, full: bool) {
        self.under_way.push(Collection { begin_ns: time_ns, end_ns: None, full });
    }

    /// The innermost one ended.
    pub fn end(&mut self, time_ns: u64) {
        let begun = self.under_way.pop();
        let collection = begun.unwrap_or(Collection { begin_ns: time_ns, end_ns: None, full: false });
        self.ended.push(Collection { end_ns: Some(time_ns), ..collection });
    }

    /// How many ended.
    pub fn ended_count(&self) -> usize {
        self.ended.len()
    }

    /// Those that ended since the last call.
    pub fn take_ended(&mut self) -> &[Collection] {
        let from = std::mem::replace(&mut self.taken, self.ended.len());
        self.ended.get(from..).unwrap_or_default()
    }

    /// Those under way.
    pub fn under_way(&self) -> &[Collection] {
        &self.under_way
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
