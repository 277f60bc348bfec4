//! The table of frames of a document.

use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;

use foldhash::fast::RandomState;

use crate::profile::{Place, Site, SiteFrame};

/// Distinct frames, in the order in which they came.
#[derive(Default)]
pub(super) struct FrameTable<'a> {
    frames: Vec<&'a SiteFrame>,
    by_value: HashMap<&'a SiteFrame, u32>,
    /// Index of a stack's frames by their address: most stacks share their frames, so the place is found without a look
    /// at what is in them.
    by_address: HashMap<*const SiteFrame, u32, RandomState>,
    places: HashMap<*const SiteFrame, Rc<Place>, RandomState>,
}

impl<'a> FrameTable<'a> {
    /// The indices of a stack's frames.
    pub(super) fn indices(&mut self, stack: &'a [Arc<SiteFrame>]) -> Vec<u32> {
        stack.iter().map(|frame| self.index(frame)).collect()
    }

    /// Leaf → cause → line of a site, as far as they are known.
    pub(super) fn path(&mut self, site: &'a Site) -> Vec<Rc<Place>> {
        site.path_frames().map(|frame| self.place(frame)).collect()
    }

    /// The place of a frame of a site.
    pub(super) fn place(&mut self, frame: &'a SiteFrame) -> Rc<Place> {
        self.places.entry(frame).or_insert_with(|| Rc::new(frame.into())).clone()
    }

    fn index(&mut self, frame: &'a Arc<SiteFrame>) -> u32 {
        let address = Arc::as_ptr(frame);
        if let Some(&index) = self.by_address.get(&address) {
            return index;
        }
        let next = u32::try_from(self.frames.len()).unwrap_or(u32::MAX);
        let index = *self.by_value.entry(frame).or_insert_with(|| {
            self.frames.push(frame);
            next
        });
        self.by_address.insert(address, index);
        index
    }

    /// The table, when all stacks were given.
    pub(super) fn into_frames(self) -> Vec<&'a SiteFrame> {
        self.frames
    }
}
