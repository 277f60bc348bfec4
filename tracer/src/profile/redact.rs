//! A profile that says nothing of who and where: for a ticket or a colleague outside.
//!
//! Takes a profile; leaves out the pid, the command line but the main class, paths, and the names of threads and
//! containers. Functions, classes and file names without folders stay: without them it would answer nothing.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use super::{Profile, SiteFrame, Verdict, thread_pattern};
use crate::holders::{Step, StepKind};
use crate::process::Pid;
use crate::process::jvm::main_class;
use crate::recording::RecordingState;

/// Shorter names of threads are not looked for in sentences.
const NAME_BYTES: usize = 4;

impl Profile {
    /// Takes out what must not leave the house. All numbers stay.
    pub fn redact(&mut self) {
        let mut words = Words::default();
        self.redact_threads(&mut words);
        self.redact_frames(&mut words);
        self.redact_holders(&mut words);
        words.pid = self.target.pid.to_string();
        words.container = self.target.container.clone().unwrap_or_default();
        words.main = main_class(&self.target.command).filter(|main| !main.contains('/')).unwrap_or_default();
        let target = &mut self.target;
        target.command =
            [target.comm.clone(), words.main.clone()].into_iter().filter(|word| !word.is_empty()).collect();
        if target.jvm.is_none() {
            target.command.clear();
        }
        target.pid = Pid(0);
        target.container = None;
        if let Some(jvm) = &mut target.jvm {
            jvm.java_home = None;
        }
        let sites = self.sites.iter_mut().filter_map(|row| row.verdict.as_mut());
        let lines = self.by_line.iter_mut().filter_map(|row| row.verdict.as_mut());
        let categories = self.categories.iter_mut().filter_map(|row| row.verdict.as_mut());
        let findings = self.findings.iter_mut().map(|row| &mut row.verdict);
        sites.chain(lines).chain(categories).chain(findings).for_each(|verdict| words.verdict(verdict));
        let notes = self.quality.notes.iter_mut().chain(&mut self.filtered.notes);
        for note in notes.chain(self.holders.as_mut().err()) {
            *note = words.sentence(note);
        }
        for flag in &mut self.filtered.flags {
            *flag = match flag.split_once(' ') {
                Some(("--thread", _)) => "--thread NAME".to_owned(),
                _ => words.sentence(flag),
            };
        }
        for incomplete in &mut self.quality.incomplete {
            incomplete.module = incomplete.module.as_deref().map(|path| file_name(path).to_owned());
        }
        for limit in self.limits.iter_mut().flatten() {
            for text in [&mut limit.set_by, &mut limit.reason] {
                *text = text.as_deref().map(|text| words.sentence(text));
            }
        }
        if let RecordingState::Finished(reason) = &mut self.state {
            *reason = words.sentence(reason);
        }
        self.session.ended = self.session.ended.as_deref().map(|reason| words.sentence(reason));
        for step in &mut self.session.steps {
            step.text = words.sentence(&step.text);
        }
        for why in self.census.unknown.values_mut() {
            *why = words.sentence(why);
        }
        let why = "left out by --redact";
        for (moment, census) in [("begin", &mut self.census.begin), ("end", &mut self.census.end)] {
            if census.take().is_some() {
                self.census.unknown.insert(moment, why.to_owned());
            }
        }
    }

    /// Gives each name of threads a number.
    fn redact_threads(&mut self, words: &mut Words) {
        for row in &mut self.threads.names {
            row.pattern = words.thread(&row.pattern);
        }
        let of_sites = self.sites.iter_mut().flat_map(|site| &mut site.threads);
        let of_lines = self.by_line.iter_mut().flat_map(|row| &mut row.threads);
        for thread in of_sites.chain(of_lines) {
            thread.name = words.thread(&thread.name).into();
        }
    }

    /// Paths of holders name threads.
    fn redact_holders(&mut self, words: &mut Words) {
        let of_sites = self.sites.iter_mut().filter_map(|site| site.holders.as_mut());
        let of_lines = self.by_line.iter_mut().filter_map(|row| row.holders.as_mut());
        for share in of_sites.chain(of_lines).flatten() {
            let step = |step: &Step| match (step.kind, &step.name) {
                (StepKind::Thread | StepKind::Stack | StepKind::Jni, Some(name)) => {
                    Step { name: Some(words.thread(name).into()), ..step.clone() }
                }
                _ => step.clone(),
            };
            share.path = share.path.iter().map(step).collect();
        }
    }

    /// Files and modules without folders; what frames share stays shared.
    fn redact_frames(&mut self, words: &mut Words) {
        let mut known: HashMap<*const SiteFrame, Arc<SiteFrame>> = HashMap::new();
        let of_sites = self.sites.iter_mut().flat_map(|site| &mut site.frames);
        let of_threads = self.threads.creators.iter_mut().flat_map(|creator| &mut creator.frames);
        let of_touched =
            self.touched.iter_mut().flat_map(|touched| &mut touched.sites).flat_map(|site| &mut site.frames);
        // The frames that are replaced live until all are, so that no address is one of two.
        let mut replaced = Vec::new();
        for frame in of_sites.chain(of_threads).chain(of_touched) {
            let short = known.entry(Arc::as_ptr(frame)).or_insert_with(|| {
                words.paths.extend(frame.module.iter().filter(|path| path.contains(' ')).cloned());
                let name = |path: &Option<String>| path.as_deref().map(|path| file_name(path).to_owned());
                Arc::new(SiteFrame {
                    module: name(&frame.module),
                    file: name(&frame.file),
                    ..(**frame).clone()
                })
            });
            replaced.push(std::mem::replace(frame, Arc::clone(short)));
        }
        let of_lines = self.by_line.iter_mut().filter_map(|row| row.line.as_mut());
        let of_findings = self.findings.iter_mut().filter_map(|row| row.line.as_mut());
        for place in of_lines.chain(of_findings) {
            place.file = place.file.as_deref().map(|path| file_name(path).to_owned());
        }
    }
}

/// Words that are replaced in sentences, and their replacements.
#[derive(Default)]
struct Words {
    threads: HashMap<String, String>,
    /// Letters of each pattern, and the names of it that were seen.
    patterns: HashMap<String, (String, u32)>,
    /// Paths with spaces in them.
    paths: BTreeSet<String>,
    pid: String,
    container: String,
    main: String,
}

impl Words {
    /// The name of a thread, or a pattern of names, as it is shown: the same for the same, and a name still fits its
    /// pattern.
    fn thread(&mut self, name: &str) -> String {
        if let Some(known) = self.threads.get(name) {
            return known.clone();
        }
        let pattern = thread_pattern(name);
        let next = self.patterns.len();
        let (group, count) = self.patterns.entry(pattern.clone()).or_insert_with(|| (letters(next), 0));
        let shown = match (pattern == name, name.contains('#')) {
            (true, true) => format!("thread-{group}-#"),
            (true, false) => format!("thread-{group}"),
            (false, _) => {
                *count += 1;
                format!("thread-{group}-{count}")
            }
        };
        self.threads.insert(name.to_owned(), shown.clone());
        // It may come by again, and is one already.
        self.threads.insert(shown.clone(), shown.clone());
        shown
    }

    fn verdict(&self, verdict: &mut Verdict) {
        verdict.evidence.edit(|text| self.sentence(text));
        verdict.advice = self.sentence(&verdict.advice);
    }

    /// A sentence without the pid, thread names and paths.
    fn sentence(&self, text: &str) -> String {
        let mut text = text.to_owned();
        for path in &self.paths {
            text = text.replace(path.as_str(), file_name(path));
        }
        if self.container.len() >= NAME_BYTES {
            text = text.replace(&self.container, "CONTAINER");
        }
        for (name, shown) in
            self.threads.iter().filter(|(name, shown)| name != shown && name.len() >= NAME_BYTES)
        {
            text = text.replace(name.as_str(), shown);
        }
        let word = |word: &str| {
            let bare = word.trim_matches(|char: char| !char.is_ascii_alphanumeric() && char != '/');
            match bare {
                _ if bare == self.pid => word.replace(bare, "PID"),
                _ if bare.starts_with('/') && bare.len() > 1 => word.replace(bare, file_name(bare)),
                _ => word.to_owned(),
            }
        };
        text.split(' ').map(word).collect::<Vec<_>>().join(" ")
    }
}

/// `a` to `z`, `aa`, ...: a number's letters, in which no pattern sees one.
fn letters(number: usize) -> String {
    let mut letters = Vec::new();
    let mut rest = number + 1;
    while rest > 0 {
        rest -= 1;
        // Below 26.
        letters.push(char::from(b'a' + (rest % 26) as u8));
        rest /= 26;
    }
    letters.iter().rev().collect()
}

fn file_name(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or(path)
}
