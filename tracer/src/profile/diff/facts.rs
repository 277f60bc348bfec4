//! Two censuses of the same things at different times, or in different processes.

use std::cmp::Reverse;
use std::collections::HashMap;

use serde::Serialize;

use super::pair::Pair;
use crate::census::{Census, Finding};
use crate::profile::census::Fact;

/// Differences between two censuses.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct CensusDiff {
    pub facts: Vec<FactPair>,
    /// Findings that are new, and those that are gone.
    pub new_findings: Vec<Finding>,
    pub gone_findings: Vec<Finding>,
}

/// A fact that both may have.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct FactPair {
    pub id: String,
    pub name: String,
    /// The fact that it is a part of.
    pub of: Option<&'static str>,
    pub bytes: Pair,
    pub count: Pair,
}

impl FactPair {
    /// The facts of both, of which one may not be known.
    pub fn all(base: Option<&Census>, new: Option<&Census>) -> Vec<FactPair> {
        let facts = |census: Option<&Census>| census.map(Fact::all_of).unwrap_or_default();
        pairs(&facts(base), &facts(new))
    }

    /// Is the fact nothing on both sides?
    pub fn is_nothing(&self) -> bool {
        [self.bytes, self.count].iter().all(|pair| pair.base.unwrap_or(0) == 0 && pair.new.unwrap_or(0) == 0)
    }

    /// Do the sides differ?
    pub fn differs(&self) -> bool {
        self.bytes.differs() || self.count.differs()
    }
}

impl CensusDiff {
    pub fn of(base: &Census, new: &Census) -> Self {
        let (before, after) = (&base.findings, &new.findings);
        let only = |these: &[Finding], others: &[Finding]| -> Vec<Finding> {
            let is_new = |finding: &&Finding| !others.iter().any(|other| other.is_of(finding));
            these.iter().filter(is_new).cloned().collect()
        };
        Self {
            facts: FactPair::all(Some(base), Some(new)),
            new_findings: only(after, before),
            gone_findings: only(before, after),
        }
    }
}

/// The facts of both; the members of a list by how much they grew.
fn pairs(base: &[Fact], new: &[Fact]) -> Vec<FactPair> {
    let (base_by_id, new_by_id) = (by_id(base), by_id(new));
    let pair = |fact: &Fact| {
        let both = |part| Pair::new(number(&base_by_id, fact, part), number(&new_by_id, fact, part));
        let (bytes, count) = (both(|fact| fact.bytes), both(|fact| fact.count));
        FactPair { id: fact.id.clone(), name: fact.name.clone(), of: fact.of, bytes, count }
    };
    let is_member = |fact: &&Fact| fact.id.contains('/');
    let gone = base.iter().filter(is_member).filter(|fact| !new_by_id.contains_key(&*fact.id));
    let mut members: Vec<FactPair> = new.iter().filter(is_member).chain(gone).map(pair).collect();
    members.sort_by_key(|fact| Reverse((fact.count.growth(), fact.bytes.growth(), fact.count.new)));
    let mut pairs = Vec::new();
    let either = if new.is_empty() { base } else { new };
    for fact in either.iter().filter(|fact| !is_member(fact)) {
        pairs.push(pair(fact));
        pairs.extend(members.iter().filter(|member| member.of == Some(&*fact.id)).cloned());
    }
    pairs
}

type ById<'a> = HashMap<&'a str, &'a Fact>;

fn by_id(facts: &[Fact]) -> ById<'_> {
    facts.iter().map(|fact| (&*fact.id, fact)).collect()
}

/// A number of a fact. A member that is not there of a list that is known: there is none.
fn number(facts: &ById<'_>, fact: &Fact, part: fn(&Fact) -> Option<u64>) -> Option<u64> {
    match facts.get(&*fact.id) {
        Some(found) => part(found),
        None => part(facts.get(fact.of?)?).map(|_| 0),
    }
}
