//! Holders of allocations: one look at the Java heap at the end of a session, of the moment at which recording ends.
//!
//! Takes a pid; gives the groups of the look, and what each stack's live allocations have of each group. The look is
//! made in a thread of its own. Recording goes on until the moment of which the look is, so that what was live then and
//! what holds it are of one moment. Why there is no look is kept where there is none.

use std::{
    collections::{HashMap, HashSet},
    sync::mpsc::{self, Receiver, RecvTimeoutError, SyncSender},
    thread,
    time::{Duration, Instant},
};

use tracer_common::{
    stack::StackId,
    table::{Allocation, key},
};

use super::{Notice, Notify, RecordError};
use crate::{
    holders::{self, BlockGroup, HolderState, Holders, Options},
    process::{self, Pid},
    recording::{AboutHolders, HolderGroup, HolderStack, RecordedHolders, Writer},
};

/// Time until the moment of the look, and from there to its result.
pub(super) const UNTIL_MOMENT: Duration = Duration::from_secs(20);
const UNTIL_RESULT: Duration = Duration::from_secs(120);
/// Time between two turns of the recording while the look is prepared.
const POLL: Duration = Duration::from_millis(10);
/// The look waits no longer for the end of recording, during which the process may be held.
const PATIENCE: Duration = Duration::from_secs(1);
/// Groups that are kept, though nothing of the session is in them.
const MAX_GROUPS: usize = 1000;

/// Calls its argument with each live allocation.
pub(super) type Live<'a> = &'a dyn Fn(&mut dyn FnMut(u64, StackId, Allocation)) -> Result<(), RecordError>;

/// A step of the look.
enum Event {
    Told(holders::Notice),
    /// The look goes on when this is dropped.
    Moment(SyncSender<()>),
    Done(Result<Box<Holders>, String>),
}

/// A look that is being made.
pub(super) struct HoldersLook {
    events: Receiver<Event>,
    result: Option<Result<Box<Holders>, String>>,
}

/// A guard while which the look waits.
pub(super) struct Moment(#[expect(dead_code, reason = "its end is the signal")] SyncSender<()>);

impl HoldersLook {
    /// Begins with the look at process `pid`, which holds it no longer than `max_pause`.
    pub(super) fn start(pid: Pid, max_pause: Duration) -> Self {
        let (sender, events) = mpsc::channel();
        let failed = sender.clone();
        let work = move || {
            let result = look(pid, max_pause, &sender);
            // Nobody may wait any more.
            let _ = sender.send(Event::Done(result.map(Box::new)));
        };
        if let Err(error) = thread::Builder::new().name("holders".to_owned()).spawn(work) {
            let _ = failed.send(Event::Done(Err(format!("cannot start a thread: {error}"))));
        }
        Self { events, result: None }
    }

    /// Waits for the moment of which the look is; `meanwhile` recording goes on. `None` if there will be no look.
    ///
    /// # Errors
    /// Those of `meanwhile`.
    pub(super) fn moment(
        &mut self,
        notify: &mut Notify,
        mut meanwhile: impl FnMut() -> Result<(), RecordError>,
    ) -> Result<Option<Moment>, RecordError> {
        let deadline = Instant::now() + UNTIL_MOMENT;
        loop {
            match self.events.recv_timeout(POLL) {
                Ok(Event::Told(notice)) => notify(Notice::Holders(notice)),
                Ok(Event::Moment(waits)) => return Ok(Some(Moment(waits))),
                Ok(Event::Done(result)) => {
                    self.result = Some(result);
                    return Ok(None);
                }
                Err(RecvTimeoutError::Timeout) if Instant::now() < deadline => meanwhile()?,
                Err(_) => {
                    self.result = Some(Err(late(UNTIL_MOMENT)));
                    return Ok(None);
                }
            }
        }
    }

    /// Waits for the result, and writes it with what `live` allocations have of each group.
    ///
    /// # Errors
    /// The recording cannot be written.
    pub(super) fn finish(
        mut self,
        notify: &mut Notify,
        live: Live<'_>,
        writer: &mut Writer,
    ) -> Result<(), RecordError> {
        let recorded = match self.result(notify) {
            Ok(holders) => joined(&holders, live)?,
            Err(why) => RecordedHolders {
                about: AboutHolders { unknown: Some(why), ..AboutHolders::default() },
                ..RecordedHolders::default()
            },
        };
        Ok(writer.holders(&recorded)?)
    }

    fn result(&mut self, notify: &mut Notify) -> Result<Box<Holders>, String> {
        let deadline = Instant::now() + UNTIL_RESULT;
        loop {
            if let Some(result) = self.result.take() {
                return result;
            }
            match self.events.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
                Ok(Event::Told(notice)) => notify(Notice::Holders(notice)),
                // A look that was not consistent is repeated, but what was live then is not known.
                Ok(Event::Moment(_)) => {
                    return Err("the heap made no sense at the moment at which recording ended".to_owned());
                }
                Ok(Event::Done(result)) => self.result = Some(result),
                Err(_) => return Err(late(UNTIL_RESULT)),
            }
        }
    }
}

fn late(limit: Duration) -> String {
    format!("the look at the Java heap was not through in {} s", limit.as_secs())
}

fn look(pid: Pid, max_pause: Duration, events: &mpsc::Sender<Event>) -> Result<Holders, String> {
    let target = process::inspect(pid).map_err(|error| error.to_string())?;
    // Recording must not go on for seconds to make the pause shorter.
    let options = Options { max_pause, awaits_collection: false, ..Options::default() };
    let mut notice = |notice: &holders::Notice| {
        let told = match notice {
            holders::Notice::Moment => {
                let (waits, ended) = mpsc::sync_channel(0);
                let told = events.send(Event::Moment(waits));
                let _ = ended.recv_timeout(PATIENCE);
                told
            }
            notice => events.send(Event::Told(*notice)),
        };
        if told.is_err() {
            tracing::debug!("nobody waits for the look any more");
        }
    };
    holders::of_process(&target, &options, &mut notice).map_err(|error| error.to_string())
}

/// The look, with what each stack's live allocations have of each group.
fn joined(holders: &Holders, live: Live<'_>) -> Result<RecordedHolders<StackId>, RecordError> {
    let mut sums: HashMap<(StackId, Option<usize>), (u64, u64)> = HashMap::new();
    let mut gone_count = 0;
    live(&mut |at, stack, allocation| {
        let weighed = allocation.weighed();
        // Memory that is not watched by malloc's calls is told by the address of a part of it.
        let is_block = at & !key::ADDRESS == 0;
        let size_bytes = if is_block { weighed.size_bytes() } else { 0 };
        let group = match holders.block_groups.at(at & key::ADDRESS, size_bytes) {
            BlockGroup::Of(group) => Some(group),
            BlockGroup::None => None,
            BlockGroup::Gone => {
                gone_count += weighed.count();
                return;
            }
        };
        let sum = sums.entry((stack, group)).or_default();
        *sum = (sum.0.saturating_add(weighed.bytes()), sum.1.saturating_add(weighed.count()));
    })?;
    let used: HashSet<usize> = sums.keys().filter_map(|(_, group)| *group).collect();
    let none = HolderGroup {
        owner: None,
        state: HolderState::None,
        path: Vec::new(),
        count: 0,
        bytes: 0,
        exact: true,
    };
    let mut groups: Vec<HolderGroup> = Vec::new();
    let mut places: HashMap<Option<usize>, u32> = HashMap::new();
    let is_wanted = |index: usize| index < MAX_GROUPS || used.contains(&index);
    for (index, group) in holders.groups.iter().enumerate().filter(|(index, _)| is_wanted(*index)) {
        let place = groups.len() as u32;
        places.insert(Some(index), place);
        if group.owner.is_none() {
            places.insert(None, place);
        }
        groups.push(HolderGroup {
            owner: group.owner.clone(),
            state: group.state,
            path: group.path.to_vec(),
            count: group.count,
            bytes: group.bytes,
            exact: group.exact,
        });
    }
    places.entry(None).or_insert_with(|| {
        groups.push(none);
        groups.len() as u32 - 1
    });
    let stacks = sums.into_iter().filter_map(|((stack, group), (live_bytes, live_count))| {
        Some(HolderStack { stack, group: *places.get(&group)?, live_bytes, live_count })
    });
    let nanoseconds = |duration: Duration| u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
    let about = AboutHolders {
        method: holders.pause.method.as_str().to_owned(),
        held_ns: holders.pause.held.map(nanoseconds),
        predicted_ns: holders.pause.predicted.map(nanoseconds),
        looks: holders.pause.looks,
        gone_count,
        unknown: None,
    };
    Ok(RecordedHolders { about, groups, stacks: stacks.collect() })
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::holders::{DataQuality, Group, Method, Pause};

    #[test]
    fn the_largest_groups_are_kept_and_one_for_what_has_no_holder() {
        let group = |count| Group {
            owner: Some(holders::Owner { class: "app.Owner".to_owned(), field: "address".to_owned() }),
            state: HolderState::Held,
            path: Arc::default(),
            count,
            bytes: 1,
            exact: true,
        };
        let holders = Holders {
            pause: Pause { method: Method::None, held: None, predicted: None, looks: 1 },
            quality: DataQuality::default(),
            groups: (0..1_100).map(group).collect(),
            block_groups: holders::BlockGroups::default(),
            findings: Vec::new(),
            heap_bytes: 0,
            gc: "G1",
            unknown: Vec::new(),
        };
        let joined = joined(&holders, &|_| Ok(())).expect("joined");
        let counts: Vec<u64> = joined.groups.iter().map(|group| group.count).collect();
        assert_eq!(counts, (0..1_000).chain([0]).collect::<Vec<_>>());
        assert_eq!(joined.groups.last().map(|group| group.state), Some(HolderState::None));
    }
}
