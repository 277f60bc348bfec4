//! Frames by which a site's stack is shown, wherever the site is from.

use std::sync::Arc;

use crate::profile::diff::SitePair;
use crate::profile::{CallPath, Site, SiteFrame};

/// A stack and what is known of it.
#[derive(Clone, Copy)]
pub(super) struct Calls<'a> {
    /// Leaf first.
    pub(super) frames: &'a [Arc<SiteFrame>],
    pub(super) path: CallPath,
    pub(super) complete: Option<bool>,
    pub(super) stop: Option<&'a str>,
}

impl<'a> From<&'a Site> for Calls<'a> {
    fn from(site: &'a Site) -> Self {
        Self { frames: &site.frames, path: site.path, complete: site.complete, stop: site.stop.as_deref() }
    }
}

impl<'a> From<&'a SitePair> for Calls<'a> {
    fn from(site: &'a SitePair) -> Self {
        Self { frames: &site.frames, path: site.path, complete: site.complete, stop: site.stop.as_deref() }
    }
}
