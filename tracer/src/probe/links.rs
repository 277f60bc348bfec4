//! The links of attached probes: in the guard's hands if there is one, else here.

use std::{io, os::fd::OwnedFd};

use super::{
    guard::{Group, Guard},
    heartbeat::Heartbeat,
};

/// All links of a session. Dropped, the probes are detached.
#[derive(Debug, Default)]
pub(super) struct Links {
    // Before the guard, which is told to end then.
    heartbeat: Option<Heartbeat>,
    guard: Option<Guard>,
    /// Links that the guard does not have.
    own: Vec<(Group, OwnedFd)>,
}

impl Links {
    /// Makes `guard` keep all links from now on, as long as `heartbeat` tells it that this process runs.
    ///
    /// # Errors
    /// It is gone.
    pub(super) fn set_guard(&mut self, guard: Guard, heartbeat: Heartbeat) -> io::Result<()> {
        for (group, link) in self.own.drain(..) {
            guard.keep(group, vec![link])?;
        }
        self.guard = Some(guard);
        self.heartbeat = Some(heartbeat);
        Ok(())
    }

    /// The heartbeat, if there is a guard.
    pub(super) fn heartbeat(&self) -> Option<&Heartbeat> {
        self.heartbeat.as_ref()
    }

    /// The guard, if there is one.
    pub(super) fn guard(&self) -> Option<&Guard> {
        self.guard.as_ref()
    }

    /// Keeps links until they are taken.
    ///
    /// # Errors
    /// The guard is gone, and all links with it.
    pub(super) fn keep(&mut self, group: Group, links: Vec<OwnedFd>) -> io::Result<()> {
        match &self.guard {
            Some(guard) => guard.keep(group, links),
            None => {
                self.own.extend(links.into_iter().map(|link| (group, link)));
                Ok(())
            }
        }
    }

    /// The links of a group, to be detached by whoever drops them. Empty if the guard is gone: then they are, too.
    pub(super) fn take(&mut self, group: Group) -> Vec<OwnedFd> {
        match &self.guard {
            Some(guard) => guard.give_back(group).unwrap_or_default(),
            None => self.own.extract_if(.., |(of, _)| *of == group).map(|(_, link)| link).collect(),
        }
    }
}
