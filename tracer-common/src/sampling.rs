//! Sampling by bytes: which allocations are recorded, and how often each of them counts.
//!
//! An allocation is taken or left by itself, with a chance of one in a power of two; if it is taken, it
//! counts that many times. So the expectation of every sum is exactly what it would be without sampling
//! (Horvitz and Thompson), nothing is rounded, and a free takes away just what its allocation added, whatever
//! the interval is by then. At an interval of N bytes, the weight is the largest with which an allocation
//! stands for at most N bytes: those above N/2 are all taken, and the variance of a sum of X bytes is below N·X.
//! It is never above [`MAX_WEIGHT`]: beyond that there is nothing to be saved beside the traps, and few small
//! allocations would have to stand for all, which have little of the bytes and most of the count.

/// The smallest interval, bytes: below it nearly everything is taken.
pub const MIN_INTERVAL: u32 = 1 << 10;
/// The largest.
pub const MAX_INTERVAL: u32 = 1 << 30;

/// Value in place of an interval: nothing of the allocator is recorded any more.
pub const OFF: u32 = u32::MAX;

/// Largest number of calls of which only one is taken.
pub const MAX_WEIGHT: u32 = 1 << MAX_LOG2;
const MAX_LOG2: u32 = 6;

/// Bytes² of one unit of [`WeightedSize::bytes_variance`]: sums of them must fit into 64 bits.
pub const VARIANCE_UNIT: u64 = 1 << VARIANCE_SHIFT;
const VARIANCE_SHIFT: u32 = 12;

const SIZE_BITS: u32 = 58;
const MAX_SIZE: u64 = (1 << SIZE_BITS) - 1;

/// The binary logarithm of how many allocations of this size the interval has room for, which that of their
/// weight is, too, up to the largest.
#[inline(always)]
pub const fn room_log2(size_bytes: u64, interval: u32) -> u32 {
    let size = if size_bytes == 0 { 1 } else { size_bytes };
    match (interval as u64 / size).checked_ilog2() {
        Some(log2) => log2,
        None => 0,
    }
}

/// Upper bound of the bytes and calls that one sample can represent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HeaviestSample {
    pub bytes: u64,
    pub count: u64,
}

/// The heaviest sample if allocations were taken or left for which there was `room`: bit n if their [`room_log2`] was
/// n. Zero if all were taken.
pub const fn heaviest_sample(room: u64, interval: u32) -> HeaviestSample {
    let sampled = room & !1;
    if sampled == 0 {
        return HeaviestSample { bytes: 0, count: 0 };
    }
    let (least, most) = (sampled.trailing_zeros(), sampled.ilog2());
    let most = if most > MAX_LOG2 { MAX_LOG2 } else { most };
    // Small ones stand for less than an interval: for the largest weight times their size.
    HeaviestSample { bytes: (interval as u64) >> least.saturating_sub(MAX_LOG2), count: 1 << most }
}

/// The size of an allocation, and the binary logarithm of its weight above it.
#[repr(transparent)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WeightedSize(pub u64);

impl WeightedSize {
    /// No allocation.
    pub const NONE: Self = Self(u64::MAX);

    /// An allocation that counts once. Sizes that none can have are cut.
    #[inline(always)]
    pub const fn once(size_bytes: u64) -> Self {
        Self(if size_bytes > MAX_SIZE { MAX_SIZE } else { size_bytes })
    }

    /// Whether an allocation of this size is taken, and with which weight. `interval`: bytes, 0: all are taken;
    /// `random`: of 32 bits.
    #[inline(always)]
    pub const fn draw(size_bytes: u64, interval: u32, random: u32) -> Option<Self> {
        let room = room_log2(size_bytes, interval);
        if room == 0 {
            return Some(Self::once(size_bytes));
        }
        let log2 = if room > MAX_LOG2 { MAX_LOG2 } else { room };
        if random & ((1 << log2) - 1) != 0 {
            return None;
        }
        Some(Self(((log2 as u64) << SIZE_BITS) | (size_bytes & MAX_SIZE)))
    }

    #[inline(always)]
    pub const fn size_bytes(self) -> u64 {
        self.0 & MAX_SIZE
    }

    /// The logarithm of [`Self::count`].
    #[inline(always)]
    pub const fn log2(self) -> u32 {
        (self.0 >> SIZE_BITS) as u32 & 31
    }

    /// Number of allocations that the sample stands for.
    #[inline(always)]
    pub const fn count(self) -> u64 {
        1 << self.log2()
    }

    /// Bytes that the sample stands for.
    #[inline(always)]
    pub const fn bytes(self) -> u64 {
        self.size_bytes() << self.log2()
    }

    /// The amount that it adds to the estimated variance of a sum of counts.
    #[inline(always)]
    pub const fn count_variance(self) -> u64 {
        // (1 - p) / p², with p = 1 / weight.
        self.count() * (self.count() - 1)
    }

    /// The amount that it adds to the estimated variance of a sum of bytes, in units of [`VARIANCE_UNIT`].
    #[inline(always)]
    pub const fn bytes_variance(self) -> u64 {
        if self.log2() == 0 {
            return 0;
        }
        // The same, times size². At most 2^60: what is weighted is at most an interval.
        let bytes = self.bytes();
        (bytes * (bytes - self.size_bytes())) >> VARIANCE_SHIFT
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Xorshift (Marsaglia), 64 bits.
    struct Random(u64);

    impl Random {
        fn next(&mut self) -> u64 {
            self.0 ^= self.0 << 13;
            self.0 ^= self.0 >> 7;
            self.0 ^= self.0 << 17;
            self.0
        }

        fn draw(&mut self, size_bytes: u64, interval: u32) -> Option<WeightedSize> {
            WeightedSize::draw(size_bytes, interval, (self.next() >> 32) as u32)
        }
    }

    #[test]
    fn chance_and_weight_are_each_other_s_inverse() {
        for interval in [0, MIN_INTERVAL, 1 << 16, 500_000, MAX_INTERVAL] {
            for size in [0, 1, 2, 13, 1_009, 65_537, 249_999, 250_001, 1 << 30, 1 << 40] {
                let taken = WeightedSize::draw(size, interval, 0).expect("0 takes all");
                assert_eq!(taken.size_bytes(), size);
                // The lower bits decide, all of which are equally probable.
                let (weight, mask) = (taken.count(), taken.count() as u32 - 1);
                assert!(WeightedSize::draw(size, interval, !mask).is_some(), "{size} of {interval}");
                for bit in 0..taken.log2() {
                    assert_eq!(WeightedSize::draw(size, interval, 1 << bit), None, "{size} of {interval}");
                }
                let stands_for = size.max(1) * weight;
                let interval = u64::from(interval);
                assert!(weight == 1 || stands_for <= interval, "{size} of {interval}");
                let is_largest = weight == u64::from(MAX_WEIGHT) || 2 * stands_for > interval;
                assert!(is_largest, "{size} of {interval}");
            }
        }
    }

    #[test]
    fn what_no_allocation_can_have_is_cut() {
        assert_eq!(WeightedSize::once(u64::MAX).size_bytes(), MAX_SIZE);
        assert_eq!(WeightedSize::draw(u64::MAX, MAX_INTERVAL, 7), Some(WeightedSize::once(u64::MAX)));
        assert_ne!(WeightedSize::once(u64::MAX), WeightedSize::NONE);
    }

    #[test]
    fn no_sample_stands_for_more_than_the_heaviest() {
        for interval in [0, MIN_INTERVAL, 500_000, MAX_INTERVAL] {
            for size in [0, 1, 13, 100, 1_009, 7_812, 7_813, 65_537, 249_999, 250_001, 1 << 30] {
                let taken = WeightedSize::draw(size, interval, 0).expect("0 takes all");
                let HeaviestSample { bytes, count } =
                    heaviest_sample(1 << room_log2(size, interval), interval);
                if taken.log2() == 0 {
                    assert_eq!((bytes, count), (0, 0));
                } else {
                    assert!((taken.bytes()..=4 * taken.bytes().max(64)).contains(&bytes), "{size}: {bytes}");
                    assert_eq!(count, taken.count());
                }
            }
        }
        // Several samples, each weighted by what it stands for most.
        let heaviest = HeaviestSample { bytes: 1 << 20, count: 64 };
        assert_eq!(heaviest_sample(1 << 0 | 1 << 2 | 1 << 12, 1 << 20), heaviest);
        assert_eq!(heaviest_sample(1 << 0, 1 << 20), HeaviestSample::default());
    }

    #[test]
    fn no_variance_overflows() {
        let size = MAX_INTERVAL / MAX_WEIGHT;
        let largest = WeightedSize::draw(size.into(), MAX_INTERVAL, 0).expect("taken");
        assert_eq!(largest.bytes(), 1 << 30);
        assert_eq!(largest.bytes_variance(), ((1_u64 << 30) * ((1 << 30) - (1 << 24))) >> 12);
        assert_eq!(largest.count_variance(), 64 * 63);
        assert_eq!(WeightedSize::once(MAX_SIZE).bytes_variance(), 0);
    }

    /// Sums over what a program of many sizes allocates and frees, over a change of the interval half-way.
    #[test]
    fn estimates_are_within_three_standard_errors() {
        let mut random = Random(0x9e37_79b9_7f4a_7c15);
        let (mut within, mut counts_within, mut sum_of_errors, mut sum_of_truths) = (0, 0, 0.0, 0.0);
        const RUNS: u32 = 200;
        for _ in 0..RUNS {
            let (mut truth, mut estimate, mut variance) = (0.0, 0.0, 0.0);
            let (mut true_count, mut count, mut count_variance) = (0.0, 0.0, 0.0);
            for allocation in 0..60_000_u32 {
                let size = [64, 100, 1_009, 10_007, 131_101, 500_009][random.next() as usize % 6];
                let interval = if allocation < 30_000 { 300_000 } else { 1 << 20 };
                let taken = random.draw(size, interval);
                // A free takes away what the allocation added, so live is a sum over what is not freed.
                if random.next().is_multiple_of(2) {
                    continue;
                }
                (truth, true_count) = (truth + size as f64, true_count + 1.0);
                if let Some(taken) = taken {
                    estimate += taken.bytes() as f64;
                    variance += (taken.bytes_variance() * VARIANCE_UNIT) as f64;
                    count += taken.count() as f64;
                    count_variance += taken.count_variance() as f64;
                }
            }
            assert!(variance <= f64::from(1 << 20) * estimate, "the bound of the standard error");
            within += u32::from((estimate - truth).abs() <= 3.0 * variance.sqrt());
            (sum_of_errors, sum_of_truths) = (sum_of_errors + estimate - truth, sum_of_truths + truth);
            counts_within += u32::from((count - true_count).abs() <= 3.0 * count_variance.sqrt());
        }
        assert!(within.min(counts_within) >= RUNS / 100 * 99, "{within} and {counts_within} of {RUNS}");
        // The mean of all is fourteen times as close as one.
        assert!((sum_of_errors / sum_of_truths).abs() < 0.005, "{sum_of_errors} of {sum_of_truths}");
    }
}
