//! Truth against report: right or wrong, and how often.
//!
//! A *finding* is a category or site that somebody must do something about (leak, gc-pending, retention). Precision is
//! the part of all findings reported that are true; recall the part of all truths that were reported, with the right
//! category, owner, verdict and evidence. Truths that are no findings (a pool that fills) count for recall too.

use std::collections::BTreeSet;

use serde_json::{Value, json};

/// Precision and recall that a report must reach.
const ENOUGH: f64 = 0.98;
/// Runs of a set that is held to it by itself: of fewer, one wrong verdict is more than may be wrong.
const HELD_RUNS: f64 = 100.0;
const FINDINGS: [&str; 3] = ["leak", "gc-pending", "retention"];

/// Subject of a judgement: a program on one JDK with one collector, and the facts that may be told of it besides its
/// truth.
#[derive(Clone)]
pub(crate) struct Subject {
    /// `stories`, `cases` or `libraries`.
    pub(crate) set: &'static str,
    pub(crate) name: String,
    pub(crate) jdk: u32,
    pub(crate) collector: String,
    /// Words that the evidence must have.
    pub(crate) evidence: String,
    /// Categories that grow with it, truly.
    pub(crate) also: Vec<String>,
}

impl Subject {
    /// The case as a name of a file.
    pub(crate) fn id(&self) -> String {
        format!("{}-{}-{}", self.name, self.jdk, self.collector)
    }
}

/// One judged report.
pub(crate) struct Row {
    subject: Subject,
    /// Category, owner and verdicts of the truth; none: nothing is to be found.
    truth: Option<[String; 3]>,
    /// Verdict of the report on the truth's category, and why.
    verdict: String,
    owner: String,
    evidence: String,
    found: bool,
    /// Findings that are true.
    true_findings: u64,
    /// `category: verdict (evidence)` of those that are not.
    false_findings: Vec<String>,
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

/// A name, or the beginning of one before a `*`.
fn matches(wanted: &str, name: &str) -> bool {
    match wanted.strip_suffix('*') {
        Some(start) => name.starts_with(start),
        None => name == wanted,
    }
}

/// The method of an owner: a name, or an object that has it.
fn method(owner: &Value) -> &str {
    owner.as_str().unwrap_or_else(|| text(&owner["function"]))
}

fn list<'a>(report: &'a Value, key: &str) -> impl Iterator<Item = &'a Value> {
    report[key].as_array().into_iter().flatten()
}

impl Row {
    pub(crate) fn of(subject: &Subject, truth: &Value, report: &Value) -> Row {
        let category = truth["category"].as_str();
        let is_true = |id: &str| category.is_some_and(|category| matches(category, id));
        let rows: Vec<&Value> = list(report, "categories").filter(|row| is_true(text(&row["id"]))).collect();
        let accepted: Vec<&str> = text(&truth["verdicts"]).split(' ').collect();
        let kind = |row: &Value| text(&row["verdict"]["kind"]).to_owned();
        // A category may have a row for malloc and one for mappings: the memory is in one of them.
        let row = rows.iter().find(|row| accepted.contains(&kind(row).as_str())).or(rows.first());
        let verdict = row.map(|row| kind(row)).unwrap_or_default();
        let evidence = row.map(|row| text(&row["verdict"]["evidence"]).to_owned()).unwrap_or_default();
        // The category's first owner; where the finding is one site's, that site's.
        let first = row.map(|row| text(&row["owners"][0]["function"]).to_owned()).unwrap_or_default();
        let source = row.map_or("", |row| text(&row["source"]));
        let of_row = |site: &&Value| is_true(text(&site["category"])) && text(&site["source"]) == source;
        let site = list(report, "sites").filter(of_row).find(|site| kind(site) == verdict);
        let site = site.map(|site| method(&site["owner"]).to_owned()).unwrap_or_default();
        let expected = text(&truth["owner"]);
        let owner = if matches(expected, &site) && !site.is_empty() { site } else { first };
        let found = category.is_some()
            && accepted.contains(&verdict.as_str())
            && (expected.is_empty() || matches(expected, &owner))
            && evidence.contains(&subject.evidence);

        let mut seen = BTreeSet::new();
        let mut true_findings = 0;
        let mut false_findings = Vec::new();
        for (key, name) in [("categories", "id"), ("sites", "category")] {
            for row in list(report, key).filter(|row| FINDINGS.contains(&kind(row).as_str())) {
                let id = text(&row[name]);
                if !seen.insert((id.to_owned(), kind(row))) {
                    continue;
                }
                let expected = is_true(id) && accepted.contains(&kind(row).as_str());
                if expected || subject.also.iter().any(|also| also == id) {
                    true_findings += 1;
                } else {
                    let why = text(&row["verdict"]["evidence"]);
                    let owner = method(&row["owner"]);
                    false_findings.push(format!("{key} {id}: {} ({why}) {owner}", kind(row)));
                }
            }
        }
        // One illness is one finding.
        let of_owner =
            |finding: &&Value| !expected.is_empty() && matches(expected, text(&finding["owner"]["function"]));
        for finding in list(report, "findings").filter(of_owner).skip(1) {
            let rows: Vec<&str> = list(finding, "rows").map(|row| text(&row["category"])).collect();
            false_findings.push(format!("one more finding of the same line: {}", rows.join(", ")));
        }
        let truth = category.map(|category| {
            [category.to_owned(), text(&truth["owner"]).to_owned(), text(&truth["verdicts"]).to_owned()]
        });
        let subject = subject.clone();
        Row { subject, truth, verdict, owner, evidence, found, true_findings, false_findings }
    }

    /// Result for a subject that could not be judged: a truth that is not told, if there is one.
    pub(crate) fn failed(subject: &Subject, truth: &Value, why: String) -> Row {
        let mut row = Row::of(subject, truth, &Value::Null);
        row.found = false;
        row.false_findings.push(format!("it was not judged: {why}"));
        row
    }

    pub(crate) fn is_right(&self) -> bool {
        (self.found || self.truth.is_none()) && self.false_findings.is_empty()
    }

    /// A line, and one for each finding that is not true.
    pub(crate) fn describe(&self) -> String {
        let mark = if self.is_right() { "ok   " } else { "WRONG" };
        let Row { subject: Subject { name: story, jdk, collector, .. }, verdict, owner, evidence, .. } = self;
        let mut told = match &self.truth {
            Some([category, expected_owner, expected]) => format!(
                "{mark} {story} on {jdk} {collector}: {category} is {verdict} (in truth {expected}), owner {owner} (in truth \
                 {expected_owner}): {evidence}"
            ),
            None => format!("{mark} {story} on {jdk} {collector}: nothing is to be found"),
        };
        for finding in &self.false_findings {
            told += &format!("\n      not true: {finding}");
        }
        told
    }

    pub(crate) fn json(&self) -> Value {
        json!({
            "set": self.subject.set, "story": self.subject.name, "jdk": self.subject.jdk,
            "collector": self.subject.collector, "truth": self.truth, "verdict": self.verdict, "owner": self.owner,
            "evidence": self.evidence, "found": self.found, "true_findings": self.true_findings,
            "false_findings": self.false_findings,
        })
    }
}

/// Precision, recall and the number of runs, of some rows.
fn figures<'a>(rows: impl Iterator<Item = &'a Row> + Clone) -> [f64; 3] {
    let ratio = |part: u64, rest: u64| match part + rest {
        0 => 1.0,
        all => part as f64 / all as f64,
    };
    let count = |wanted: fn(&Row) -> bool| rows.clone().filter(|row| wanted(row)).count() as u64;
    let (found, missed) = (count(|row| row.found), count(|row| row.truth.is_some() && !row.found));
    let true_findings = rows.clone().map(|row| row.true_findings).sum();
    let false_findings = rows.clone().map(|row| row.false_findings.len() as u64).sum();
    [ratio(true_findings, false_findings), ratio(found, missed), rows.count() as f64]
}

/// Scores of all programs that were run.
pub(crate) struct Score {
    rows: Vec<Row>,
}

impl Score {
    pub(crate) fn of(mut rows: Vec<Row>) -> Score {
        rows.sort_by(|one, other| {
            let key = |row: &Row| {
                let Subject { set, name, jdk, collector, .. } = row.subject.clone();
                (set, name, jdk, collector)
            };
            key(one).cmp(&key(other))
        });
        Score { rows }
    }

    pub(crate) fn is_enough(&self) -> bool {
        let is_held = |set: &str, runs: f64| set == "all" || runs >= HELD_RUNS;
        let mut held = self.sets().into_iter().filter(|(set, [_, _, runs])| is_held(set, *runs));
        held.all(|(_, [precision, recall, _])| precision >= ENOUGH && recall >= ENOUGH)
    }

    /// The figures of all, and of each set that was run.
    fn sets(&self) -> Vec<(&'static str, [f64; 3])> {
        let sets: BTreeSet<&'static str> = self.rows.iter().map(|row| row.subject.set).collect();
        let of_set = |set| (set, figures(self.rows.iter().filter(move |row| row.subject.set == set)));
        [("all", figures(self.rows.iter()))].into_iter().chain(sets.into_iter().map(of_set)).collect()
    }

    pub(crate) fn json(&self) -> Value {
        let rows: Vec<Value> = self.rows.iter().map(Row::json).collect();
        let sets: Vec<Value> = self
            .sets()
            .into_iter()
            .map(|(set, [precision, recall, runs])| {
                json!({ "set": set, "precision": precision, "recall": recall, "runs": runs })
            })
            .collect();
        json!({ "sets": sets, "rows": rows })
    }

    /// A table as in docs/attribution.md, the figures, and what is wrong.
    pub(crate) fn describe(&self) -> String {
        let mut told =
            "| program | category | owner | verdict | right on | wrong on |\n|---|---|---|---|---|---|"
                .to_owned();
        let stories: BTreeSet<(&str, &str)> =
            self.rows.iter().map(|row| (row.subject.set, row.subject.name.as_str())).collect();
        for (set, story) in stories {
            let of_story: Vec<&Row> = self
                .rows
                .iter()
                .filter(|row| (row.subject.set, row.subject.name.as_str()) == (set, story))
                .collect();
            let truth = of_story.iter().find_map(|row| row.truth.clone());
            let [category, owner, verdicts] =
                truth.unwrap_or_else(|| ["", "", "no_finding"].map(str::to_owned));
            let pairs = |right: bool| {
                let rows = of_story.iter().filter(|row| row.is_right() == right);
                let pairs: Vec<String> =
                    rows.map(|row| format!("{} {}", row.subject.jdk, row.subject.collector)).collect();
                pairs.join(", ")
            };
            told += &format!(
                "\n| {story} | {category} | {owner} | {} | {} | {} |",
                verdicts.replace(" ", " or ").replace("_", " "),
                pairs(true),
                pairs(false)
            );
        }
        told += "\n";
        for (set, [precision, recall, runs]) in self.sets() {
            told += &format!(
                "\n{set}: precision {:.1} %, recall {:.1} %, {runs} runs",
                precision * 100.0,
                recall * 100.0
            );
        }
        for row in self.rows.iter().filter(|row| !row.is_right()) {
            told += &format!("\n{}", row.describe());
        }
        told
    }
}
