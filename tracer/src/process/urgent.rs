//! Precedence of a thread over others on its processor, for the time in which a process is held.
//!
//! Whoever is held waits for the thread that copies, so load of other programs must not make that longer. The rank is
//! taken back when it is dropped; where it is not permitted (it needs CAP_SYS_NICE), nothing changes.
//! Source: sched(7).

/// Rank of a thread that works while a process is held.
pub const COPIES: i32 = 1;
/// Rank of the thread that keeps the deadline: it comes before all others.
pub const KEEPS_TIME: i32 = 2;

/// The calling thread's precedence.
#[derive(Debug)]
pub struct Urgent {
    policy: i32,
    rank: i32,
    is_raised: bool,
}

impl Urgent {
    /// Gives the calling thread, and threads that it starts, the rank `rank`.
    pub fn begin(rank: i32) -> Self {
        let mut before = libc::sched_param { sched_priority: 0 };
        // SAFETY: both ask about the calling thread; `before` outlives the call that writes it.
        let (policy, known) =
            unsafe { (libc::sched_getscheduler(0), libc::sched_getparam(0, &raw mut before) == 0) };
        let is_raised = policy >= 0 && known && set(libc::SCHED_RR, rank);
        Self { policy, rank: before.sched_priority, is_raised }
    }
}

impl Drop for Urgent {
    fn drop(&mut self) {
        if self.is_raised {
            set(self.policy, self.rank);
        }
    }
}

fn set(policy: i32, rank: i32) -> bool {
    let param = libc::sched_param { sched_priority: rank };
    // SAFETY: `param` outlives the call, which changes the calling thread alone.
    unsafe { libc::sched_setscheduler(0, policy, &raw const param) == 0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn policy() -> i32 {
        // SAFETY: asks about the calling thread.
        unsafe { libc::sched_getscheduler(0) }
    }

    #[test]
    fn it_ends_with_what_it_is_for() {
        let before = policy();
        let urgent = Urgent::begin(COPIES);
        let during = policy();
        assert_eq!(during, if urgent.is_raised { libc::SCHED_RR } else { before });
        {
            let _inner = Urgent::begin(KEEPS_TIME);
        }
        assert_eq!(policy(), during);
        drop(urgent);
        assert_eq!(policy(), before);
    }
}
