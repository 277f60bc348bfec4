//! Events from saved records: each its length (u32, little-endian) and then its bytes.

use super::{
    decode::decode,
    event::{DecodeError, Event, EventSource},
};

/// Saved records, replayed in their order.
#[derive(Clone, Debug)]
pub struct ReplaySource<'a> {
    rest: &'a [u8],
}

impl<'a> ReplaySource<'a> {
    /// Replays `bytes`.
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    /// Appends one record to `bytes`, in the form that is replayed.
    pub fn append(bytes: &mut Vec<u8>, record: &[u8]) {
        let length = u32::try_from(record.len()).unwrap_or(u32::MAX);
        bytes.extend_from_slice(&length.to_le_bytes());
        bytes.extend_from_slice(record);
    }
}

impl EventSource for ReplaySource<'_> {
    fn next(&mut self) -> Option<Result<Event, DecodeError>> {
        if self.rest.is_empty() {
            return None;
        }
        let too_short = Some(Err(DecodeError::TooShort(self.rest.len())));
        let Some((length, rest)) = self.rest.split_first_chunk::<4>() else {
            self.rest = &[];
            return too_short;
        };
        let Some((record, rest)) = rest.split_at_checked(u32::from_le_bytes(*length) as usize) else {
            self.rest = &[];
            return too_short;
        };
        self.rest = rest;
        Some(decode(record))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ingest::event::EventKind;
    use tracer_common::record::{Header, kind};
    use zerocopy::IntoBytes;

    #[test]
    fn records_come_back_in_order_and_a_cut_file_ends_with_an_error() {
        let mut bytes = Vec::new();
        for kind in [kind::GC_BEGIN, kind::GC_END] {
            ReplaySource::append(&mut bytes, Header { kind, ..Header::ZERO }.as_bytes());
        }
        let kinds = |bytes| {
            let mut source = ReplaySource::new(bytes);
            std::iter::from_fn(move || source.next()).collect::<Vec<_>>()
        };
        let all = kinds(&bytes);
        assert_eq!(all.len(), 2);
        assert_eq!(all[0].as_ref().unwrap().kind, EventKind::GcBegan { full: false });
        assert_eq!(all[1].as_ref().unwrap().kind, EventKind::GcEnded);
        let cut = kinds(&bytes[..bytes.len() - 1]);
        assert_eq!(cut.len(), 2);
        assert!(cut[1].is_err());
    }
}
