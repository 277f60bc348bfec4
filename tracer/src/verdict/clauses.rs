//! A sentence of evidence in its clauses, so that a reader with little room can leave some out.
//!
//! Takes clauses in order; gives the sentence, whole or shortened. Knows no screen.

use std::fmt;

use serde::{Serialize, Serializer};

/// Joints behind which a sentence only explains what it said.
const EXPLAINS: [&str; 2] = ["; ", ": "];

/// A sentence of evidence.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sentence {
    /// Whose it is, if not that of the whole row: `of Feed.open alone`.
    about: Option<String>,
    clauses: Vec<Clause>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Clause {
    /// Text between the clause before and this one.
    joint: &'static str,
    text: Text,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Text {
    Plain(String),
    Growth(GrowthClause),
}

/// A clause on growth: `it grew by 2.3 MiB/s (95 %: 2.2 MiB/s to 2.4 MiB/s)`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct GrowthClause {
    /// `None`: the row's own memory.
    pub(super) subject: Option<&'static str>,
    pub(super) rate: String,
    /// Confidence interval of the rate.
    pub(super) interval: String,
}

impl Sentence {
    /// Adds a clause.
    #[must_use]
    pub(super) fn then(self, joint: &'static str, text: impl Into<String>) -> Sentence {
        self.and(joint, text.into().into())
    }

    /// Adds another sentence.
    #[must_use]
    pub(super) fn and(mut self, joint: &'static str, other: Sentence) -> Sentence {
        let begin = self.clauses.len();
        self.clauses.extend(other.clauses);
        if let Some(clause) = self.clauses.get_mut(begin) {
            clause.joint = joint;
        }
        self
    }

    /// The same sentence, said of one owner.
    #[must_use]
    pub(crate) fn about(self, owner: &str) -> Sentence {
        Sentence { about: Some(format!("of {owner} alone")), ..self }
    }

    /// Without intervals; without the growth at its begin if that is `told` already and more is said; `subject` is the
    /// name of the row's own memory.
    #[must_use]
    pub(crate) fn brief(&self, told: &str, subject: Option<&str>) -> Sentence {
        let is_told = match self.clauses.first().map(|clause| &clause.text) {
            Some(Text::Growth(growth)) => {
                growth.subject.is_none() && growth.rate == told && subject.is_none()
            }
            _ => false,
        };
        let goes_on = self.clauses.get(1).is_some_and(|clause| clause.joint == "; ");
        let mut brief = self.clone();
        if is_told && goes_on {
            brief.clauses.remove(0);
        }
        for clause in &mut brief.clauses {
            let Text::Growth(growth) = &mut clause.text else { continue };
            growth.interval.clear();
            if let (None, Some(subject)) = (growth.subject, subject) {
                clause.text = Text::Plain(format!("{subject} grew by {}", growth.rate));
            }
        }
        brief
    }

    /// The statement, without explanations.
    #[must_use]
    pub(crate) fn main_clause(&self) -> Sentence {
        let mut main = self.clone();
        let explains = |(at, clause): (usize, &Clause)| at > 0 && EXPLAINS.contains(&clause.joint);
        if let Some(at) = self.clauses.iter().enumerate().position(explains) {
            main.clauses.truncate(at);
        }
        main
    }

    /// Edits each of its texts.
    pub(crate) fn edit(&mut self, edit: impl Fn(&str) -> String) {
        self.about = self.about.take().map(|about| edit(&about));
        for clause in &mut self.clauses {
            if let Text::Plain(text) = &mut clause.text {
                *text = edit(text);
            }
        }
    }

    #[cfg(test)]
    pub(crate) fn contains(&self, text: &str) -> bool {
        self.to_string().contains(text)
    }
}

impl From<String> for Sentence {
    fn from(text: String) -> Sentence {
        Sentence { about: None, clauses: vec![Clause { joint: "", text: Text::Plain(text) }] }
    }
}

impl From<GrowthClause> for Sentence {
    fn from(growth: GrowthClause) -> Sentence {
        Sentence { about: None, clauses: vec![Clause { joint: "", text: Text::Growth(growth) }] }
    }
}

impl fmt::Display for Sentence {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(about) = &self.about {
            write!(formatter, "{about}: ")?;
        }
        for (at, clause) in self.clauses.iter().enumerate() {
            let joint = if at == 0 { "" } else { clause.joint };
            match &clause.text {
                Text::Plain(text) => write!(formatter, "{joint}{text}")?,
                Text::Growth(GrowthClause { subject, rate, interval }) => {
                    write!(formatter, "{joint}{} grew by {rate}", subject.unwrap_or("it"))?;
                    if !interval.is_empty() {
                        write!(formatter, " ({interval})")?;
                    }
                }
            }
        }
        Ok(())
    }
}

impl Serialize for Sentence {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[cfg(test)]
impl PartialEq<&str> for Sentence {
    fn eq(&self, text: &&str) -> bool {
        let whole = self.to_string();
        whole == *text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn grew(subject: Option<&'static str>) -> Sentence {
        let (rate, interval) = ("2.0 MiB/s".to_owned(), "95 %: 1.9 MiB/s to 2.1 MiB/s".to_owned());
        Sentence::from(GrowthClause { subject, rate, interval })
    }

    #[test]
    fn a_brief_sentence_says_what_the_row_does_not() {
        let sentence =
            grew(None).then("; ", "no collection ran").then(": ", "trigger one (jcmd 1 GC.run; twice)");
        let whole = "it grew by 2.0 MiB/s (95 %: 1.9 MiB/s to 2.1 MiB/s); no collection ran: trigger one (jcmd 1 GC.run; \
                     twice)";
        assert_eq!(sentence.to_string(), whole);
        assert_eq!(serde_json::to_value(&sentence).expect("a string"), whole);
        let brief = |told, subject| sentence.brief(told, subject).to_string();
        assert_eq!(brief("2.0 MiB/s", None), "no collection ran: trigger one (jcmd 1 GC.run; twice)");
        let other = "it grew by 2.0 MiB/s; no collection ran: trigger one (jcmd 1 GC.run; twice)";
        assert_eq!(brief("9.0 MiB/s", None), other);
        assert_eq!(brief("2.0 MiB/s", Some("its zlib")), other.replace("it grew", "its zlib grew"));
        assert_eq!(sentence.brief("2.0 MiB/s", None).main_clause().to_string(), "no collection ran");
    }

    #[test]
    fn growth_that_is_all_that_is_said_stays() {
        let sentence = grew(None).then(", and ", "older allocations stay").then("; ", "no collection ran");
        let brief = sentence.brief("2.0 MiB/s", None).main_clause();
        assert_eq!(brief.to_string(), "it grew by 2.0 MiB/s, and older allocations stay");
        let survivors = grew(Some("what survives")).then("; ", "more").brief("2.0 MiB/s", Some("its zlib"));
        assert_eq!(survivors.to_string(), "what survives grew by 2.0 MiB/s; more");
        let mut alone = grew(None).about("Feed.open");
        assert_eq!(
            alone.main_clause().brief("", None).to_string(),
            "of Feed.open alone: it grew by 2.0 MiB/s"
        );
        alone.edit(|text| text.replace("Feed", "F"));
        assert!(alone.contains("of F.open alone: it grew"));
        assert_eq!(Sentence::default().main_clause().to_string(), "");
    }
}
