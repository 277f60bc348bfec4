//! Estimates from sampled page faults for memory that was touched for the first time, by the stack that touched it and
//! by whose memory it is.

use std::collections::BTreeMap;

use tracer_common::stack::StackId;

/// Estimates of one stack and owner.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Touches {
    /// Faults that were taken.
    pub sample_count: u64,
    /// Faults that they stand for: an unbiased estimate of how many there were.
    pub fault_count: u64,
    /// Variance of that estimate: each that was taken with a chance of 1/w adds w (w − 1).
    pub variance: u64,
}

/// A fault whose place is not known yet.
#[derive(Clone, Copy, Debug)]
struct Fault {
    stack: StackId,
    address: u64,
    log2_weight: u32,
    time_ns: u64,
}

/// Faults that wait for the next look at the memory, at most; what is beyond them has no owner.
const MAX_WAITING: usize = 1 << 16;
/// Name of memory of which nobody knows whose it is.
pub const NOWHERE: &str = "anonymous";

/// First touches of a session.
#[derive(Debug, Default)]
pub struct TouchEstimator {
    waiting: Vec<Fault>,
    touches: BTreeMap<(StackId, &'static str), Touches>,
}

impl TouchEstimator {
    /// A fault at `address`, taken with a chance of one in 2^`log2_weight`.
    pub fn add(&mut self, time_ns: u64, stack: StackId, address: u64, log2_weight: u32) {
        if self.waiting.len() >= MAX_WAITING {
            self.place(u64::MAX, |_| None);
        }
        self.waiting.push(Fault { stack, address, log2_weight: log2_weight.min(31), time_ns });
    }

    /// Gives the faults that wait, and happened before `until_ns`, to whoever owned their addresses then.
    pub fn place(&mut self, until_ns: u64, owner: impl Fn(u64) -> Option<&'static str>) {
        for fault in self.waiting.extract_if(.., |fault| fault.time_ns < until_ns) {
            let Fault { stack, address, log2_weight, .. } = fault;
            let touches = self.touches.entry((stack, owner(address).unwrap_or(NOWHERE))).or_default();
            let weight = 1_u64 << log2_weight;
            touches.sample_count += 1;
            touches.fault_count += weight;
            touches.variance += weight * (weight - 1);
        }
    }

    /// Touches by stack and by the id of the owner.
    pub fn touches(&self) -> &BTreeMap<(StackId, &'static str), Touches> {
        &self.touches
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sample_stands_for_as_many_as_its_chance_says() {
        let mut estimator = TouchEstimator::default();
        estimator.add(10, StackId(7), 0x1000, 4);
        estimator.add(11, StackId(7), 0x2000, 0);
        estimator.add(12, StackId(7), 0x9000, 1);
        estimator.add(20, StackId(7), 0x1000, 1);
        estimator.place(20, |address| (address < 0x8000).then_some("thread-stack"));
        let stack = Touches { sample_count: 2, fault_count: 17, variance: 16 * 15 };
        assert_eq!(estimator.touches()[&(StackId(7), "thread-stack")], stack);
        // The last one came after the look.
        let nowhere = Touches { sample_count: 1, fault_count: 2, variance: 2 };
        assert_eq!(estimator.touches()[&(StackId(7), NOWHERE)], nowhere);
    }

    #[test]
    fn what_waits_is_bounded() {
        let mut estimator = TouchEstimator::default();
        for _ in 0..=MAX_WAITING {
            estimator.add(1, StackId(1), 0, 0);
        }
        assert_eq!(estimator.touches()[&(StackId(1), NOWHERE)].sample_count, MAX_WAITING as u64);
    }
}
