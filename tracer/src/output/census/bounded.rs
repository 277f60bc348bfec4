//! A census made small enough to be kept in every recording.

use serde_json::{Map, Value};

/// Rows of a list; the first ones hold most.
const MAX_ROWS: usize = 200;
const MAX_CHARS: usize = 1_000;

/// Cuts long lists and texts short; `cut` then has the whole length of each list, by its path (RFC 6901).
#[must_use]
pub fn bounded(mut census: Value) -> Value {
    let mut cut = Map::new();
    shorten(&mut census, &mut String::new(), &mut cut);
    if let (Value::Object(members), false) = (&mut census, cut.is_empty()) {
        members.insert("cut".to_owned(), Value::Object(cut));
    }
    census
}

fn shorten(value: &mut Value, path: &mut String, cut: &mut Map<String, Value>) {
    let length = path.len();
    match value {
        Value::String(text) => {
            if let Some((end, _)) = text.char_indices().nth(MAX_CHARS) {
                text.truncate(end);
                text.push('…');
            }
        }
        Value::Array(rows) => {
            if rows.len() > MAX_ROWS {
                cut.insert(path.clone(), rows.len().into());
                rows.truncate(MAX_ROWS);
            }
            for (index, row) in rows.iter_mut().enumerate() {
                path.push_str(&format!("/{index}"));
                shorten(row, path, cut);
                path.truncate(length);
            }
        }
        Value::Object(members) => {
            for (key, member) in members.iter_mut() {
                path.push('/');
                path.push_str(key);
                shorten(member, path, cut);
                path.truncate(length);
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_is_short_stays_and_what_is_long_is_counted() {
        let short = json!({ "a": [1, 2], "b": null, "c": "text" });
        assert_eq!(bounded(short.clone()), short);
        let rows: Vec<String> = (0..1_000).map(|_| "é".repeat(5_000)).collect();
        let long = bounded(json!({ "census": { "threads": { "groups": rows } } }));
        let groups = long["census"]["threads"]["groups"].as_array().expect("groups");
        assert_eq!(groups.len(), MAX_ROWS);
        assert_eq!(groups[0].as_str().expect("text").chars().count(), MAX_CHARS + 1);
        assert_eq!(long["cut"], json!({ "/census/threads/groups": 1_000 }));
    }
}
