//! A recording becomes a profile.

use std::sync::Arc;

use super::class_owners::ClassOwners;
use super::filter::{Filter, Refusal, Selected};
use super::rows::{self, Rows};
use super::{
    Category, Censuses, Jvm, Profile, SCHEMA, Session, SiteFrame, Target, Totals, Variances, code, findings,
    limits, memory, owners, quality, threads, touched,
};
use crate::attribute::{Application, FrameTraits, Rules};
use crate::process::jvm::main_class;
use crate::recording::{BudgetStep, Recording, RecordingState, Stack};

impl Profile {
    /// The profile of a recording by these rules.
    pub fn build(recording: &Recording, rules: &Rules) -> Profile {
        let all = Filter::default();
        Self::of(recording, rules, &all, Selected::by_stack(recording, rules, &all))
    }

    /// The profile of what of a recording passes.
    ///
    /// # Errors
    /// The recording does not keep what the filter asks for.
    pub fn filtered(recording: &Recording, rules: &Rules, filter: &Filter) -> Result<Profile, Refusal> {
        let selected = Selected::by_stack(recording, rules, filter).cut(recording, filter)?;
        Ok(Self::of(recording, rules, filter, selected))
    }

    fn of(recording: &Recording, rules: &Rules, filter: &Filter, selected: Selected) -> Profile {
        let shown: Vec<Arc<SiteFrame>> =
            recording.frames.iter().map(|frame| Arc::new(SiteFrame::from(frame))).collect();
        let mut code_cache = code::build(recording);
        let Rows { sites, by_line, mut categories, series, retention, peak_times, mut filtered } =
            rows::build(recording, rules, filter, selected, &shown, &code_cache);
        let mut totals = Totals::none(Variances::none(recording));
        for category in categories.iter().filter(|category| category.source == "allocator") {
            totals.add(&category.totals);
        }
        memory::set_resident(recording, &mut categories);
        let memory = memory::build(recording, rules);
        let retained = retention.and_then(|retention| memory::retained(&memory, &retention, rules));
        filtered.known_categories.extend(retained.as_ref().map(|row| row.id.clone()));
        categories.extend(retained.filter(|row| filter.keeps_category_without_stacks(&row.id)));
        let is_there = |id: &&String| {
            filtered.known_categories.contains(id) || categories.iter().any(|row| row.id == **id)
        };
        filtered.no_categories = filter.categories.iter().filter(|id| !is_there(id)).cloned().collect();
        let class_owners = ClassOwners::of(&sites);
        code_cache.name_owners(&class_owners);
        let threads = threads::build(recording, rules, &shown);
        owners::set(&mut categories, &sites, &class_owners, &code_cache, &threads.creators);
        Profile {
            schema: SCHEMA,
            target: target(recording),
            session: session(recording),
            quality: quality::build(recording),
            totals,
            filtered,
            findings: findings::of(&categories, &by_line, &threads),
            by_line,
            categories,
            sites,
            threads,
            code_cache,
            memory,
            limits: limits::build(recording),
            fits: limits::fits(recording),
            touched: touched::build(recording, rules, &shown),
            series,
            census: Censuses::of(recording),
            holders: recording.holders.as_ref().map(|holders| holders.about.clone()).map_err(Clone::clone),
            peak_times,
            state: recording.state.clone(),
        }
    }
}

impl Category {
    /// A category of which nothing is known yet but its name.
    pub(super) fn named(id: String, source: &'static str, rules: &Rules) -> Category {
        Category {
            name: rules.category_name(&id),
            source,
            totals: Totals::default(),
            resident_bytes: None,
            owners: Vec::new(),
            growth_bytes_per_s: None,
            verdict: None,
            id,
        }
    }
}

/// A recording's frames as sites show them, at the same indices: shared, because many stacks have the same.
pub(super) type Shown = [Arc<SiteFrame>];

pub(super) fn frames(shown: &Shown, stack: &Stack) -> Vec<Arc<SiteFrame>> {
    let mut frames = Vec::with_capacity(stack.frames.len());
    frames.extend(stack.frames.iter().filter_map(|&frame| at(shown, frame)).cloned());
    frames
}

/// The code that is the recorded application's own.
pub(super) fn application(recording: &Recording, rules: &Rules) -> Application {
    Application::of_main(main_class(&recording.target.command).as_deref(), rules)
}

/// The answers of the rules for all frames.
pub(super) fn frame_traits(recording: &Recording, rules: &Rules) -> Vec<FrameTraits> {
    let application = application(recording, rules);
    recording.frames.iter().map(|frame| rules.frame(frame, &application)).collect()
}

pub(super) fn at<T>(items: &[T], index: u32) -> Option<&T> {
    items.get(usize::try_from(index).ok()?)
}

fn target(recording: &Recording) -> Target {
    let target = &recording.target;
    Target {
        pid: target.pid,
        comm: target.comm.clone(),
        command: target.command.clone(),
        jvm: target.jvm.as_ref().map(|jvm| Jvm {
            version: jvm.version.clone(),
            vendor: jvm.vendor.clone(),
            gc: jvm.gc.clone(),
            java_home: jvm.java_home.clone(),
        }),
        container: target.container.clone(),
    }
}

fn session(recording: &Recording) -> Session {
    let session = &recording.session;
    Session {
        started: session.started.clone(),
        duration_ns: recording.duration_ns,
        probes: session.probes.clone(),
        sample_bytes: session.sample_bytes,
        gc_count: session.gc_probes.then(|| count(recording.collections.len())),
        max_overhead_percent: session.max_overhead_percent,
        overhead_percent: session.overhead.and_then(|took| percent(took.probes_ns, took.target_ns)),
        overhead_percent_of_cpu: session.overhead.and_then(|took| percent(took.probes_ns, took.span_ns)),
        steps: session
            .steps
            .iter()
            .map(|step| BudgetStep {
                time_ns: step.time_ns.saturating_sub(session.started_ns),
                ..step.clone()
            })
            .collect(),
        ended: match &recording.state {
            RecordingState::Finished(reason) => Some(reason.clone()),
            RecordingState::Recording | RecordingState::Unfinished => None,
        },
    }
}

/// Percentage with one decimal. `None` for a part of nothing.
fn percent(part: u64, whole: u64) -> Option<f64> {
    (whole > 0).then(|| (part as f64 / whole as f64 * 1_000.0).round() / 10.0)
}

pub(super) fn count(length: usize) -> u64 {
    u64::try_from(length).unwrap_or(u64::MAX)
}
