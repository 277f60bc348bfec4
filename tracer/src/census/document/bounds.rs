//! The bounds of a document: so many rows of a list, so long a text. A census is kept in every recording, and what it
//! is taken of may have any number of threads, libraries and loaders, with names of any length.

use std::collections::BTreeMap;

use serde_json::Value;

/// Rows of a list; the first ones hold most.
pub(crate) const MAX_ROWS: usize = 200;
/// Characters of a text.
const MAX_CHARS: usize = 1_000;

/// Cuts lists while they are put into a document, and notes how long they were.
#[derive(Debug, Default)]
pub(crate) struct Bounds {
    /// The whole length of each list that was cut, by its path (RFC 6901).
    pub(crate) cut: BTreeMap<String, u64>,
}

impl Bounds {
    /// The first rows of a list whose path is `path`; the order decides which stay.
    pub(crate) fn list<T>(&mut self, path: &str, rows: impl IntoIterator<Item = T>) -> Vec<T> {
        let mut rows = rows.into_iter();
        let kept: Vec<T> = rows.by_ref().take(MAX_ROWS).collect();
        let more = rows.count() as u64;
        if more > 0 {
            self.cut.insert(path.to_owned(), kept.len() as u64 + more);
        }
        kept
    }
}

/// A text, cut short if it is long.
pub(crate) fn text(text: &str) -> String {
    match text.char_indices().nth(MAX_CHARS) {
        Some((end, _)) => format!("{}…", text.get(..end).unwrap_or_default()),
        None => text.to_owned(),
    }
}

/// A number above `limit` somewhere in a value, if there is one.
pub(super) fn number_above(value: &Value, limit: u64) -> Option<u64> {
    match value {
        Value::Number(number) => number.as_u64().filter(|number| *number > limit),
        Value::Array(rows) => rows.iter().find_map(|row| number_above(row, limit)),
        Value::Object(members) => members.values().find_map(|member| number_above(member, limit)),
        Value::Null | Value::Bool(_) | Value::String(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_short_stays_and_what_is_long_is_counted() {
        let mut bounds = Bounds::default();
        assert_eq!(bounds.list("/short", 0..200), Vec::from_iter(0..200));
        assert_eq!(bounds.list("/long", 0..1_000).len(), MAX_ROWS);
        assert_eq!(bounds.cut, BTreeMap::from([("/long".to_owned(), 1_000)]));
        assert_eq!(text("short"), "short");
        assert_eq!(text(&"é".repeat(5_000)).chars().count(), MAX_CHARS + 1);
    }
}
