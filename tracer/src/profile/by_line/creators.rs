//! Creators of threads, by line.

use std::cmp::Reverse;
use std::collections::HashMap;
use std::sync::Arc;

use super::{Place, function};
use crate::profile::{SiteFrame, Threads};

/// The threads that one method of the application started, over its lines, tiers and lambdas.
#[derive(Clone, Debug)]
pub struct CreatorLine<'a> {
    /// Line that started most. `None` if no frame of the application is on the stacks.
    pub owner: Option<Place>,
    pub count: u64,
    /// Number of them that are live at the end.
    pub live: u64,
    pub stack_reserved_bytes: u64,
    pub stack_resident_bytes: u64,
    /// The stack that started most.
    pub frames: &'a [Arc<SiteFrame>],
}

impl Threads {
    /// The creators by line, those that started most first.
    pub fn creators_by_line(&self) -> Vec<CreatorLine<'_>> {
        let mut rows: Vec<CreatorLine<'_>> = Vec::new();
        let mut by_function: HashMap<Option<String>, usize> = HashMap::new();
        // The creators come with those that started most first.
        for creator in &self.creators {
            let owner = creator.path.owner.and_then(|at| creator.frames.get(at));
            let owner = owner.map(|frame| Place::from(&**frame));
            let function = owner.as_ref().map(|place| place.function.clone());
            let at = *by_function.entry(function).or_insert_with(|| {
                rows.push(CreatorLine {
                    owner,
                    count: 0,
                    live: 0,
                    stack_reserved_bytes: 0,
                    stack_resident_bytes: 0,
                    frames: &creator.frames,
                });
                rows.len() - 1
            });
            let Some(row) = rows.get_mut(at) else { continue };
            row.count = row.count.saturating_add(creator.count);
            row.live = row.live.saturating_add(creator.live);
            row.stack_reserved_bytes = row.stack_reserved_bytes.saturating_add(creator.stack_reserved_bytes);
            row.stack_resident_bytes = row.stack_resident_bytes.saturating_add(creator.stack_resident_bytes);
        }
        rows.sort_by_key(|row| Reverse(row.count));
        rows
    }

    /// The live threads that a line started. `None` if it started none.
    pub fn started_by(&self, line: &Place) -> Option<StartedThreads> {
        let of_line = self.creators.iter().filter(|creator| {
            let owner = creator.path.owner.and_then(|at| creator.frames.get(at));
            owner.is_some_and(|frame| function(frame.kind, &frame.function) == line.function)
        });
        let mut sum: Option<StartedThreads> = None;
        for creator in of_line {
            let sum = sum.get_or_insert_default();
            sum.live = sum.live.saturating_add(creator.live);
            sum.stack_resident_bytes = sum.stack_resident_bytes.saturating_add(creator.stack_resident_bytes);
        }
        sum
    }
}

/// Live threads of one line of code.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StartedThreads {
    pub live: u64,
    /// Resident bytes of their stacks.
    pub stack_resident_bytes: u64,
}
