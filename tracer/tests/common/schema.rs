//! JSON Schemas of docs/schemas, held against what the commands write: by the keywords that those schemas use, and
//! besides each key that is written must be in the schema.

use std::path::Path;

use serde_json::Value;

/// Holds `value` against docs/schemas/`name`.json.
pub(crate) fn check(name: &str, value: &Value) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/schemas").join(format!("{name}.json"));
    let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let schema: Value = serde_json::from_str(&text).expect("a schema in JSON");
    let mut wrong = Vec::new();
    hold(&schema, &schema, value, "", &mut wrong);
    assert!(wrong.is_empty(), "{name}: {}", wrong.join("\n"));
}

fn hold(root: &Value, schema: &Value, value: &Value, at: &str, wrong: &mut Vec<String>) {
    for keyword in schema.as_object().expect("a schema").keys() {
        let known = [
            "$schema",
            "$defs",
            "$ref",
            "title",
            "description",
            "type",
            "required",
            "properties",
            "items",
            "enum",
            "const",
            "anyOf",
            "additionalProperties",
            "minimum",
        ];
        assert!(known.contains(&keyword.as_str()), "this test does not know the keyword {keyword}");
    }
    if let Some(name) = schema["$ref"].as_str() {
        let target = root.pointer(name.trim_start_matches('#')).unwrap_or_else(|| panic!("no {name}"));
        return hold(root, target, value, at, wrong);
    }
    if let Some(all) = schema["anyOf"].as_array() {
        let failures: Vec<Vec<String>> = all
            .iter()
            .map(|one| {
                let mut wrong = Vec::new();
                hold(root, one, value, at, &mut wrong);
                wrong
            })
            .collect();
        if failures.iter().all(|wrong| !wrong.is_empty()) {
            wrong.extend(failures.into_iter().flatten());
        }
        return;
    }
    let is_kind = |kind: &Value| match kind.as_str().expect("a type") {
        "object" => value.is_object(),
        "array" => value.is_array(),
        "string" => value.is_string(),
        "boolean" => value.is_boolean(),
        "null" => value.is_null(),
        "integer" => value.is_u64() || value.is_i64(),
        "number" => value.is_number(),
        other => panic!("no type is called {other}"),
    };
    let kinds = schema["type"].as_array().cloned().unwrap_or_else(|| match &schema["type"] {
        Value::Null => Vec::new(),
        kind => vec![kind.clone()],
    });
    if !kinds.is_empty() && !kinds.iter().any(is_kind) {
        wrong.push(format!("{at}: {value} is not {kinds:?}"));
    }
    if !schema["const"].is_null() && schema["const"] != *value {
        wrong.push(format!("{at}: {value} is not {}", schema["const"]));
    }
    if let Some(all) = schema["enum"].as_array().filter(|all| !all.contains(value)) {
        wrong.push(format!("{at}: {value} is none of {all:?}"));
    }
    if let Some((least, number)) =
        schema["minimum"].as_i64().zip(value.as_i64()).filter(|(least, it)| it < least)
    {
        wrong.push(format!("{at}: {number} is below {least}"));
    }
    for (index, row) in value.as_array().into_iter().flatten().enumerate() {
        if schema["items"].is_object() {
            hold(root, &schema["items"], row, &format!("{at}/{index}"), wrong);
        }
    }
    let Some(members) = value.as_object() else { return };
    for key in schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str) {
        if !members.contains_key(key) {
            wrong.push(format!("{at}: {key} is missing"));
        }
    }
    for (key, member) in members {
        match (&schema["properties"][key], &schema["additionalProperties"]) {
            (Value::Null, Value::Null) => wrong.push(format!("{at}: {key} is not in the schema")),
            (Value::Null, other) => hold(root, other, member, &format!("{at}/{key}"), wrong),
            (property, _) => hold(root, property, member, &format!("{at}/{key}"), wrong),
        }
    }
}
