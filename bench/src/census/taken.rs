//! `tracer census`, the release build beside this program, taken once, and what can be held against it.

use std::fs::{self, File};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};
use serde_json::Value;

use crate::process::{self, Ended};
use crate::{tracer_record, workload};

/// A census, and what taking it took.
pub(crate) struct Census {
    value: Value,
    pub(crate) ended: Ended,
    /// Resident bytes of the target before it and after.
    resident_bytes: [u64; 2],
    virtual_bytes: u64,
}

impl Census {
    /// Takes one of `pid`.
    ///
    /// # Errors
    /// The census failed, or is not JSON.
    pub(crate) fn take(pid: u32) -> Result<Self> {
        let file = workload::folder()?.join("census.json");
        let before = process::resident_bytes_exactly(pid)?;
        let mut child = Command::new(tracer_record::tracer()?)
            .args(["census", "--format", "json", "-p", &pid.to_string()])
            .stdin(Stdio::null())
            .stdout(File::create(&file)?)
            .spawn()
            .context("cannot run tracer")?;
        let ended = process::watch(&mut child)?;
        if !ended.status.success() {
            bail!("tracer census failed ({})", ended.status);
        }
        let value = serde_json::from_slice(&fs::read(&file)?).context("the census is not JSON")?;
        let resident_bytes = [before, process::resident_bytes_exactly(pid)?];
        Ok(Self { value, ended, resident_bytes, virtual_bytes: process::virtual_bytes(pid)? })
    }

    /// Distance of the sum of the parts from the resident bytes, %: to the nearer of before and after; 0 if the sum is
    /// between them.
    pub(crate) fn off_percent(&self) -> Result<f64> {
        let parts = self.value["memory"]["parts"].as_array().context("a census without parts")?;
        let sum: u64 = parts.iter().filter_map(|part| part["resident_bytes"].as_u64()).sum();
        let [one, other] = self.resident_bytes;
        Ok(distance_percent(sum, one.min(other), one.max(other)))
    }

    /// Reason why arenas of malloc are missing, if they are.
    pub(crate) fn missing_arenas(&self) -> Option<&str> {
        self.value["unknown"]["malloc.arenas"].as_str()
    }

    /// A number that cannot be: more bytes, or more things, than the target has bytes of address space.
    pub(crate) fn wild(&self) -> Option<String> {
        wild("census", &self.value, self.virtual_bytes)
    }
}

fn distance_percent(value: u64, low: u64, high: u64) -> f64 {
    let distance = low.saturating_sub(value) + value.saturating_sub(high);
    100.0 * distance as f64 / low.max(1) as f64
}

fn wild(path: &str, value: &Value, limit: u64) -> Option<String> {
    match value {
        Value::Object(fields) => fields.iter().find_map(|(name, value)| {
            let path = format!("{path}.{name}");
            let counts = name.ends_with("bytes") || name.ends_with("count");
            // A limit may be any number: it is what the machine was given.
            let is_wild = counts
                && name != "limit_bytes"
                && value.as_f64().is_some_and(|n| !(0.0..=limit as f64).contains(&n));
            if is_wild { Some(format!("{path} is {value}")) } else { wild(&path, value, limit) }
        }),
        Value::Array(items) => items.iter().find_map(|item| wild(path, item, limit)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_is_found_wherever_it_is() {
        let census = |count: i64| serde_json::json!({"zlib": {"groups": [{"count": 3}, {"count": count}]}, "time_ns": 9999});
        assert_eq!(wild("census", &census(1000), 1000), None);
        assert_eq!(wild("census", &census(1001), 1000).as_deref(), Some("census.zlib.groups.count is 1001"));
        assert!(wild("census", &census(-1), 1000).is_some());
    }

    #[test]
    fn between_before_and_after_nothing_is_off() {
        assert_eq!(distance_percent(150, 100, 200), 0.0);
        assert_eq!(distance_percent(90, 100, 200), 10.0);
        assert_eq!(distance_percent(230, 100, 200), 30.0);
    }
}
