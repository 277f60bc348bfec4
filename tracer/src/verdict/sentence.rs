//! Sentences of evidence, and the figures in them: a number is written and kept in one step, so no sentence can say
//! another than the report has.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::units;

/// The numbers of a sentence by name; the name ends in the unit.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[serde(transparent)]
pub struct Figures(BTreeMap<&'static str, Figure>);

/// A number of a sentence.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[serde(untagged)]
pub enum Figure {
    /// Bytes, nanoseconds, or things.
    Whole(u64),
    /// A rate, or a share of 1.
    Real(f64),
}

impl Figures {
    /// The number with this name.
    pub fn get(&self, name: &str) -> Option<Figure> {
        self.0.get(name).copied()
    }

    /// The whole number with this name.
    pub fn whole(&self, name: &str) -> Option<u64> {
        match self.get(name)? {
            Figure::Whole(value) => Some(value),
            Figure::Real(_) => None,
        }
    }

    /// The rate with this name, rounded.
    pub fn rate(&self, name: &str) -> Option<i64> {
        match self.get(name)? {
            Figure::Real(value) => Some(value.round() as i64),
            Figure::Whole(_) => None,
        }
    }

    /// Figures by name.
    pub fn iter(&self) -> impl Iterator<Item = (&'static str, Figure)> {
        self.0.iter().map(|(name, figure)| (*name, *figure))
    }

    /// Keeps a number that the sentence does not have.
    pub(super) fn keep(&mut self, name: &'static str, value: u64) {
        self.0.insert(name, Figure::Whole(value));
    }

    /// `18.9 MiB`.
    pub(super) fn bytes(&mut self, name: &'static str, value: u64) -> String {
        self.keep(name, value);
        units::bytes(value)
    }

    /// `1.9 MiB/s`, of what is known to rise.
    pub(super) fn bytes_per_s(&mut self, name: &'static str, value: f64) -> String {
        self.0.insert(name, Figure::Real(value));
        units::bytes_per_s(value)
    }

    /// `200.0`, of things a second.
    pub(super) fn count_per_s(&mut self, name: &'static str, value: f64) -> String {
        self.0.insert(name, Figure::Real(value));
        format!("{value:.1}")
    }

    /// `12 %`.
    pub(super) fn share(&mut self, name: &'static str, value: f64) -> String {
        self.0.insert(name, Figure::Real(value));
        format!("{:.0} %", value * 100.0)
    }

    /// `12.3 s`, `3 min 20 s`: a length of time, or a moment since the session started.
    pub(super) fn time(&mut self, name: &'static str, value_ns: u64) -> String {
        self.keep(name, value_ns);
        units::duration(value_ns)
    }

    /// `3 collections`.
    pub(super) fn counted(&mut self, name: &'static str, value: u64, thing: &str) -> String {
        self.keep(name, value);
        units::counted(value, thing)
    }

    /// `3`.
    pub(super) fn count(&mut self, name: &'static str, value: u64) -> String {
        self.keep(name, value);
        units::count(value)
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// Each number of a sentence is one of its figures, as it is written; `known`: words that have digits.
    pub(crate) fn holds(evidence: &str, figures: &Figures, known: &[&str]) -> Result<(), String> {
        let mut written: Vec<String> = known.iter().map(|&word| word.to_owned()).collect();
        for (name, figure) in figures.iter() {
            written.extend(match figure {
                Figure::Whole(value) if name.ends_with("_bytes") => vec![units::bytes(value)],
                Figure::Whole(value) if name.ends_with("_ns") => vec![units::duration(value)],
                Figure::Whole(value) => vec![units::count(value)],
                Figure::Real(value) if name.ends_with("_bytes_per_s") => vec![units::bytes_per_s(value)],
                Figure::Real(value) if name.ends_with("_share") => vec![format!("{:.0} %", value * 100.0)],
                Figure::Real(value) => vec![format!("{value:.1}")],
            });
        }
        written.sort_by_key(|text| std::cmp::Reverse(text.len()));
        let mut rest = evidence.to_owned();
        for text in &written {
            rest = rest.replace(text, "");
        }
        match rest.chars().any(|char| char.is_ascii_digit()) {
            true => Err(format!("`{evidence}`: `{rest}` is not of {figures:?}")),
            false => Ok(()),
        }
    }
}
