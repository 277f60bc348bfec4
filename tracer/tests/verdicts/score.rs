//! Truth against report: right or wrong, and how often.
//!
//! A *finding* is a category or site that somebody must do something about (leak, gc-pending, retention). Precision is
//! the part of all findings reported that are true; recall the part of all truths that were reported, with the right
//! category, owner, verdict and evidence. Truths that are no findings (a pool that fills) count for recall too.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::stories::Story;

/// What a report must reach.
const ENOUGH: f64 = 0.95;
const FINDINGS: [&str; 3] = ["leak", "gc-pending", "retention"];

/// One story on one JDK.
pub(crate) struct Row {
    story: String,
    jdk: u64,
    /// Category, owner and verdicts of the truth; none: nothing is to be found.
    truth: Option<[String; 3]>,
    /// What the report says of the truth's category, and why.
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

fn list<'a>(report: &'a Value, key: &str) -> impl Iterator<Item = &'a Value> {
    report[key].as_array().into_iter().flatten()
}

impl Row {
    pub(crate) fn of(story: &Story, jdk: u32, truth: &Value, report: &Value) -> Row {
        let category = truth["category"].as_str();
        let rows: Vec<&Value> =
            list(report, "categories").filter(|row| Some(text(&row["id"])) == category).collect();
        let accepted: Vec<&str> = text(&truth["verdicts"]).split(' ').collect();
        let kind = |row: &Value| text(&row["verdict"]["kind"]).to_owned();
        // A category may have a row for malloc and one for mappings: the memory is in one of them.
        let row = rows.iter().find(|row| accepted.contains(&kind(row).as_str())).or(rows.first());
        let verdict = row.map(|row| kind(row)).unwrap_or_default();
        let evidence = row.map(|row| text(&row["verdict"]["evidence"]).to_owned()).unwrap_or_default();
        // The category's first owner; where the finding is one site's, that site's.
        let first = row.map(|row| text(&row["owners"][0]["function"]).to_owned()).unwrap_or_default();
        let source = row.map_or("", |row| text(&row["source"]));
        let of_row =
            |site: &&Value| Some(text(&site["category"])) == category && text(&site["source"]) == source;
        let site = list(report, "sites").filter(of_row).find(|site| kind(site) == verdict);
        let site = site.map(|site| text(&site["owner"]).to_owned()).unwrap_or_default();
        let expected = text(&truth["owner"]);
        let owner = if site == expected { site } else { first };
        let found = category.is_some()
            && accepted.contains(&verdict.as_str())
            && (expected.is_empty() || owner == expected)
            && evidence.contains(story.evidence);

        let mut seen = BTreeSet::new();
        let mut true_findings = 0;
        let mut false_findings = Vec::new();
        for (key, name) in [("categories", "id"), ("sites", "category")] {
            for row in list(report, key).filter(|row| FINDINGS.contains(&kind(row).as_str())) {
                let id = text(&row[name]);
                if !seen.insert((id.to_owned(), kind(row))) {
                    continue;
                }
                let expected = Some(id) == category && accepted.contains(&kind(row).as_str());
                if expected || story.also.contains(&id) {
                    true_findings += 1;
                } else {
                    let why = text(&row["verdict"]["evidence"]);
                    let owner = text(&row["owner"]);
                    false_findings.push(format!("{key} {id}: {} ({why}) {owner}", kind(row)));
                }
            }
        }
        let truth = category.map(|category| {
            [category.to_owned(), text(&truth["owner"]).to_owned(), text(&truth["verdicts"]).to_owned()]
        });
        let story = story.mode.to_owned();
        let jdk = u64::from(jdk);
        Row { story, jdk, truth, verdict, owner, evidence, found, true_findings, false_findings }
    }

    pub(crate) fn is_right(&self) -> bool {
        (self.found || self.truth.is_none()) && self.false_findings.is_empty()
    }

    /// A line, and one for each finding that is not true.
    pub(crate) fn told(&self) -> String {
        let mark = if self.is_right() { "ok   " } else { "WRONG" };
        let Row { story, jdk, verdict, owner, evidence, .. } = self;
        let mut told = match &self.truth {
            Some([category, expected_owner, expected]) => format!(
                "{mark} {story} on {jdk}: {category} is {verdict} (in truth {expected}), owner {owner} (in truth \
                 {expected_owner}): {evidence}"
            ),
            None => format!("{mark} {story} on {jdk}: nothing is to be found"),
        };
        for finding in &self.false_findings {
            told += &format!("\n      not true: {finding}");
        }
        told
    }

    pub(crate) fn json(&self) -> Value {
        json!({
            "story": self.story, "jdk": self.jdk, "truth": self.truth, "verdict": self.verdict, "owner": self.owner,
            "evidence": self.evidence, "found": self.found, "true_findings": self.true_findings,
            "false_findings": self.false_findings,
        })
    }
}

/// All stories that were run.
pub(crate) struct Score {
    rows: Vec<Row>,
    precision: f64,
    recall: f64,
}

impl Score {
    pub(crate) fn of(mut rows: Vec<Row>) -> Score {
        rows.sort_by(|one, other| (one.jdk, &one.story).cmp(&(other.jdk, &other.story)));
        let ratio = |part: u64, rest: u64| part as f64 / (part + rest).max(1) as f64;
        let count = |wanted: fn(&Row) -> bool| rows.iter().filter(|row| wanted(row)).count() as u64;
        let (found, missed) = (count(|row| row.found), count(|row| row.truth.is_some() && !row.found));
        let true_findings = rows.iter().map(|row| row.true_findings).sum();
        let false_findings = rows.iter().map(|row| row.false_findings.len() as u64).sum();
        Score { precision: ratio(true_findings, false_findings), recall: ratio(found, missed), rows }
    }

    pub(crate) fn is_enough(&self) -> bool {
        self.precision >= ENOUGH && self.recall >= ENOUGH
    }

    pub(crate) fn json(&self) -> Value {
        let rows: Vec<Value> = self.rows.iter().map(Row::json).collect();
        json!({ "precision": self.precision, "recall": self.recall, "rows": rows })
    }

    /// A table as in docs/attribution.md, and what is wrong.
    pub(crate) fn told(&self) -> String {
        let jdks: BTreeSet<u64> = self.rows.iter().map(|row| row.jdk).collect();
        let stories: BTreeSet<&str> = self.rows.iter().map(|row| row.story.as_str()).collect();
        let head: String = jdks.iter().map(|jdk| format!(" {jdk} |")).collect();
        let mut told = format!("| story | category | owner | verdict |{head}\n|---|---|---|---|");
        told += &jdks.iter().map(|_| "---|").collect::<String>();
        for story in stories {
            let of_story: Vec<&Row> = self.rows.iter().filter(|row| row.story == story).collect();
            let truth = of_story.iter().find_map(|row| row.truth.clone());
            let [category, owner, verdicts] =
                truth.unwrap_or_else(|| ["", "", "no_finding"].map(str::to_owned));
            told += &format!(
                "\n| {story} | {category} | {owner} | {} |",
                verdicts.replace(" ", " or ").replace("_", " ")
            );
            for jdk in &jdks {
                let mark = match of_story.iter().find(|row| row.jdk == *jdk) {
                    None => "–",
                    Some(row) if row.is_right() => "yes",
                    Some(_) => "**no**",
                };
                told += &format!(" {mark} |");
            }
        }
        let (precision, recall) = (self.precision * 100.0, self.recall * 100.0);
        told += &format!("\n\nprecision {precision:.1} %, recall {recall:.1} %, {} runs", self.rows.len());
        for row in self.rows.iter().filter(|row| !row.is_right()) {
            told += &format!("\n{}", row.told());
        }
        told
    }
}
