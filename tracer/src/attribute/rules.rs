//! Files of rules, read and compiled.

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::pattern::Pattern;
use crate::symbolize::FrameKind;

/// Rules of one file at most.
const RULES_MAX: usize = 10_000;
/// Bytes of a file of rules at most.
const FILE_BYTES_MAX: u64 = 4 << 20;

const BUILTIN: &str = include_str!("rules.toml");

/// Reason why a file of rules was refused.
#[derive(Debug, thiserror::Error)]
pub enum RulesError {
    #[error("cannot read the rules in {}: {source}", path.display())]
    Io { path: PathBuf, source: io::Error },
    #[error("the rules in {} are longer than {FILE_BYTES_MAX} bytes", path.display())]
    TooLong { path: PathBuf },
    #[error("cannot understand the rules in {}: {message}", path.display())]
    Syntax { path: PathBuf, message: String },
    #[error("rule `{rule}` in {}: {what}", path.display())]
    Rule { path: PathBuf, rule: String, what: &'static str },
}

/// Compiled rules, in the order in which they are tried.
#[derive(Debug)]
pub struct Rules {
    pub(super) rules: Vec<Rule>,
    pub(super) matchers: Matchers,
    pub(super) runtime: Vec<Pattern>,
    pub(super) jdk: Vec<Pattern>,
    pub(super) jvm: Vec<Pattern>,
    pub(super) platform: Vec<Pattern>,
    pub(super) bindings: Vec<Pattern>,
    names: BTreeMap<String, String>,
    natures: BTreeMap<String, (Nature, Vec<String>)>,
    usual: BTreeMap<String, u64>,
}

/// A compiled rule. `any`, `leaf` and `with` are numbers of conditions; `None`: no such condition. One of `any`
/// and `leaf` is enough.
#[derive(Debug)]
pub(super) struct Rule {
    pub(super) category: String,
    pub(super) kind: Option<String>,
    pub(super) source: Option<SourceName>,
    pub(super) mapping: Vec<Pattern>,
    pub(super) any: Option<usize>,
    pub(super) leaf: Option<usize>,
    pub(super) with: Option<usize>,
}

/// Conditions on a frame: a condition holds if one of its matchers does. Distinct by number.
#[derive(Debug, Default)]
pub(super) struct Matchers {
    conditions: Vec<Vec<Matcher>>,
}

#[derive(Debug)]
struct Matcher {
    function: Vec<Pattern>,
    module: Vec<Pattern>,
    kind: Option<FrameKind>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum SourceName {
    Allocator,
    Mapping,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    category: Vec<CategoryEntry>,
    #[serde(default)]
    modules: ModulesEntry,
    #[serde(default)]
    java: JavaEntry,
    #[serde(default)]
    rule: Vec<RuleEntry>,
}

/// The event that ends the life of a category's memory: by that its growth is judged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Nature {
    /// The code that asked for it gives it back.
    #[default]
    Owned,
    /// A Cleaner or finalizer may free it, when a collection finds its Java object unreachable.
    Collected,
    /// The JVM frees it when a collection finds a class loader unreachable.
    Unloaded,
    /// Memory that grows up to a limit that the JVM was given.
    Bounded,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct CategoryEntry {
    id: String,
    name: String,
    #[serde(default)]
    nature: Nature,
    /// Kinds whose nature is `owned` all the same.
    #[serde(default)]
    owned: Vec<String>,
    /// Usual amount: less is no finding, however it grows.
    #[serde(default)]
    usual_bytes: u64,
}

#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct ModulesEntry {
    runtime: Vec<String>,
    jdk: Vec<String>,
    jvm: Vec<String>,
}

#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct JavaEntry {
    platform: Vec<String>,
    bindings: Vec<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RuleEntry {
    id: String,
    category: String,
    kind: Option<String>,
    source: Option<SourceName>,
    #[serde(default)]
    mapping: Vec<String>,
    #[serde(default)]
    any: Vec<MatcherEntry>,
    #[serde(default)]
    leaf: Vec<MatcherEntry>,
    #[serde(default)]
    with: Vec<MatcherEntry>,
    /// The versions on which the names hold.
    #[expect(dead_code, reason = "for people, and for the test that compares the names with JDKs")]
    jdk: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct MatcherEntry {
    #[serde(default)]
    function: Vec<String>,
    #[serde(default)]
    module: Vec<String>,
    frame: Option<FrameKind>,
}

impl Rules {
    /// The built-in rules.
    pub fn builtin() -> Rules {
        let mut rules = Rules::empty();
        let added = rules.add(Path::new("rules.toml"), BUILTIN);
        // A test reads them; should they be broken all the same, everything is `unknown`.
        debug_assert!(added.is_ok(), "{added:?}");
        rules
    }

    /// The rules of a file, before the built-in ones.
    ///
    /// # Errors
    /// The file cannot be read, or is no file of rules.
    pub fn load(path: impl AsRef<Path>) -> Result<Rules, RulesError> {
        let path = path.as_ref();
        let io = |source| RulesError::Io { path: path.to_owned(), source };
        if fs::metadata(path).map_err(io)?.len() > FILE_BYTES_MAX {
            return Err(RulesError::TooLong { path: path.to_owned() });
        }
        let text = fs::read_to_string(path).map_err(io)?;
        let mut rules = Rules::empty();
        rules.add(path, &text)?;
        rules.add(Path::new("rules.toml"), BUILTIN)?;
        Ok(rules)
    }

    /// The name to show for a category; `native:` categories are known by their library.
    pub fn category_name(&self, id: &str) -> String {
        match self.names.get(id) {
            Some(name) => name.clone(),
            None => id.strip_prefix("native:").unwrap_or(id).to_owned(),
        }
    }

    /// The event that ends the life of a category's memory, or of one kind of it.
    pub fn nature(&self, category: &str, kind: Option<&str>) -> Nature {
        match self.natures.get(category) {
            Some((_, owned)) if kind.is_some_and(|kind| owned.iter().any(|one| one == kind)) => Nature::Owned,
            Some((nature, _)) => *nature,
            None => Nature::Owned,
        }
    }

    /// Amount of a category that is usual: less is no finding, however it grows.
    pub fn usual_bytes(&self, category: &str) -> u64 {
        self.usual.get(category).copied().unwrap_or_default()
    }

    fn empty() -> Rules {
        Rules {
            rules: Vec::new(),
            matchers: Matchers::default(),
            runtime: Vec::new(),
            jdk: Vec::new(),
            jvm: Vec::new(),
            platform: Vec::new(),
            bindings: Vec::new(),
            names: BTreeMap::new(),
            natures: BTreeMap::new(),
            usual: BTreeMap::new(),
        }
    }

    /// Adds the rules of a file after those that are there.
    fn add(&mut self, path: &Path, text: &str) -> Result<(), RulesError> {
        let file: File = toml::from_str(text).map_err(|error| RulesError::Syntax {
            path: path.to_owned(),
            message: match error.span().and_then(|span| text.get(..span.start)) {
                Some(before) => format!("line {}: {}", before.lines().count().max(1), error.message()),
                None => error.message().to_owned(),
            },
        })?;
        let refuse =
            |rule: &str, what| RulesError::Rule { path: path.to_owned(), rule: rule.to_owned(), what };
        for category in file.category {
            self.usual.entry(category.id.clone()).or_insert(category.usual_bytes);
            self.natures.entry(category.id.clone()).or_insert((category.nature, category.owned));
            self.names.entry(category.id).or_insert(category.name);
        }
        self.runtime.extend(patterns(&file.modules.runtime));
        self.jdk.extend(patterns(&file.modules.jdk));
        self.jvm.extend(patterns(&file.modules.jvm));
        self.platform.extend(patterns(&file.java.platform));
        self.bindings.extend(patterns(&file.java.bindings));
        let mut seen = HashMap::new();
        for entry in &file.rule {
            if self.rules.len() >= RULES_MAX {
                return Err(refuse(&entry.id, "there are too many rules"));
            }
            if entry.category.is_empty() {
                return Err(refuse(&entry.id, "its category is empty"));
            }
            if seen.insert(&entry.id, ()).is_some() {
                return Err(refuse(&entry.id, "its id is used twice"));
            }
            if entry.any.is_empty() && entry.leaf.is_empty() && entry.mapping.is_empty() {
                return Err(refuse(&entry.id, "it needs `any`, `leaf` or `mapping`"));
            }
            let mut matchers = entry.any.iter().chain(&entry.leaf).chain(&entry.with);
            if matchers.any(|matcher| matcher.function.is_empty() && matcher.module.is_empty()) {
                return Err(refuse(
                    &entry.id,
                    "each of `any`, `leaf` and `with` needs `function` or `module`",
                ));
            }
            let rule = Rule {
                category: entry.category.clone(),
                kind: entry.kind.clone(),
                source: entry.source,
                mapping: patterns(&entry.mapping).collect(),
                any: self.matchers.add(&entry.any),
                leaf: self.matchers.add(&entry.leaf),
                with: self.matchers.add(&entry.with),
            };
            self.rules.push(rule);
        }
        Ok(())
    }
}

impl Matchers {
    /// Number of conditions there are.
    pub(super) fn len(&self) -> usize {
        self.conditions.len()
    }

    /// The numbers of the conditions that hold for a frame with this plain name.
    pub(super) fn holding<'a>(
        &'a self,
        function: &'a str,
        module: Option<&'a str>,
        kind: FrameKind,
    ) -> impl Iterator<Item = usize> + 'a {
        let holds = move |condition: &Vec<Matcher>| {
            condition.iter().any(|matcher| matcher.holds(function, module, kind))
        };
        self.conditions.iter().enumerate().filter(move |(_, condition)| holds(condition)).map(|(at, _)| at)
    }

    fn add(&mut self, entries: &[MatcherEntry]) -> Option<usize> {
        if entries.is_empty() {
            return None;
        }
        let compile = |entry: &MatcherEntry| Matcher {
            function: patterns(&entry.function).collect(),
            module: patterns(&entry.module).collect(),
            kind: entry.frame,
        };
        self.conditions.push(entries.iter().map(compile).collect());
        Some(self.conditions.len() - 1)
    }
}

impl Matcher {
    fn holds(&self, function: &str, module: Option<&str>, kind: FrameKind) -> bool {
        // Names of native functions say nothing about Java, and the other way round.
        let kind_holds = self.kind.map_or(kind != FrameKind::Java, |wanted| wanted == kind);
        kind_holds
            && (self.function.is_empty() || matches(&self.function, function))
            && (self.module.is_empty() || module.is_some_and(|module| matches(&self.module, module)))
    }
}

/// Does any of the patterns match?
pub(super) fn matches(patterns: &[Pattern], name: &str) -> bool {
    patterns.iter().any(|pattern| pattern.matches(name))
}

fn patterns(texts: &[String]) -> impl Iterator<Item = Pattern> {
    texts.iter().map(|text| Pattern::new(text))
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn load(text: &str) -> Result<Rules, RulesError> {
        let mut file = tempfile::NamedTempFile::new().expect("file");
        file.write_all(text.as_bytes()).expect("write");
        Rules::load(file.path())
    }

    #[test]
    fn every_builtin_category_has_a_name() {
        let rules = Rules::builtin();
        assert!(rules.rules.len() > 25);
        for rule in &rules.rules {
            assert!(rules.names.contains_key(&rule.category), "{}", rule.category);
        }
        assert_eq!(rules.category_name("native:libfoo.so"), "libfoo.so");
    }

    #[test]
    fn a_persons_rules_come_first() {
        let rules = load(
            "[[category]]\nid = \"codec\"\nname = \"Our codec\"\n[[rule]]\nid = \"codec\"\ncategory = \"codec\"\n\
             any = [{ module = [\"libcodec*\"] }]",
        )
        .expect("rules");
        assert_eq!(rules.rules.first().map(|rule| rule.category.as_str()), Some("codec"));
        assert_eq!(rules.category_name("codec"), "Our codec");
        assert_eq!(rules.rules.len(), Rules::builtin().rules.len() + 1);
    }

    #[test]
    fn broken_rules_are_refused_with_their_name() {
        for (text, expected) in [
            ("[[rule]]\nid = \"a\"\ncategory = \"b\"", "rule `a`"),
            ("[[rule]]\nid = \"a\"\ncategory = \"b\"\nany = [{ frame = \"java\" }]", "rule `a`"),
            ("[[rule]]\nid = \"a\"\ncategory = \"b\"\nfunctions = []", "unknown field `functions`"),
            ("[[rule]]\nid = \"a\"\ncategory = \"\"\nmapping = [\"x\"]", "category is empty"),
            (
                "[[rule]]\nid = \"a\"\ncategory = \"b\"\nmapping = [\"x\"]\n\
                 [[rule]]\nid = \"a\"\ncategory = \"b\"\nmapping = [\"x\"]",
                "used twice",
            ),
            ("rule = 3", "invalid type"),
            ("[[", "rules in"),
        ] {
            let message = load(text).expect_err(text).to_string();
            assert!(message.contains(expected), "{text}: {message}");
        }
    }
}
