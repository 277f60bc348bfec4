//! Sizes of the chunks in use.

/// Chunk sizes below this are counted each for itself: all that are not mapped alone, usually.
const EXACT_BYTES: u64 = 128 << 10;
const STEP_BYTES: u64 = 16;
const EXACT_COUNT: usize = (EXACT_BYTES / STEP_BYTES) as usize;

/// Chunks of like size.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SizeClass {
    /// The smallest and largest chunk size (with header) of the class, bytes.
    pub from_bytes: u64,
    pub to_bytes: u64,
    pub count: u64,
    /// Bytes of all of them.
    pub bytes: u64,
}

/// Counts by chunk size: each multiple of 16 below 128 KiB, and each power of two above.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sizes {
    exact: Vec<u64>,
    /// Count and bytes by the logarithm.
    larger: [(u64, u64); 64],
}

impl Default for Sizes {
    fn default() -> Self {
        Self { exact: vec![0; EXACT_COUNT], larger: [(0, 0); 64] }
    }
}

impl Sizes {
    pub(super) fn add(&mut self, bytes: u64) {
        if let Some(count) = self.exact.get_mut((bytes / STEP_BYTES) as usize) {
            *count += 1;
        } else if let Some((count, sum)) = self.larger.get_mut(bytes.ilog2() as usize) {
            *count += 1;
            *sum = sum.saturating_add(bytes);
        }
    }

    pub(super) fn remove(&mut self, bytes: u64) {
        if let Some(count) = self.exact.get_mut((bytes / STEP_BYTES) as usize) {
            *count = count.saturating_sub(1);
        }
    }

    /// Every size that occurs, ascending.
    pub fn exact(&self) -> impl Iterator<Item = SizeClass> {
        let small = (0..).zip(&self.exact).map(|(index, count)| SizeClass {
            from_bytes: index * STEP_BYTES,
            to_bytes: index * STEP_BYTES,
            count: *count,
            bytes: index * STEP_BYTES * count,
        });
        small.chain(self.powers()).filter(|class| class.count != 0)
    }

    fn powers(&self) -> impl Iterator<Item = SizeClass> {
        (0..64).zip(&self.larger).map(|(log2, (count, bytes))| SizeClass {
            from_bytes: 1 << log2,
            to_bytes: (1 << log2) | ((1 << log2) - STEP_BYTES.min(1 << log2)),
            count: *count,
            bytes: *bytes,
        })
    }

    /// A histogram by powers of two, ascending: a class of N has sizes from N to 2N − 16.
    pub fn histogram(&self) -> Vec<SizeClass> {
        let mut classes: Vec<SizeClass> = Vec::new();
        for size in self.exact() {
            let from_bytes = 1 << size.from_bytes.max(1).ilog2();
            match classes.last_mut().filter(|class| class.from_bytes == from_bytes) {
                Some(class) => {
                    class.count += size.count;
                    class.bytes += size.bytes;
                }
                None => classes.push(SizeClass {
                    from_bytes,
                    to_bytes: 2 * (from_bytes - STEP_BYTES / 2),
                    ..size
                }),
            }
        }
        classes
    }

    /// The `limit` sizes that hold most bytes, those first.
    pub fn largest(&self, limit: usize) -> Vec<SizeClass> {
        let mut classes: Vec<SizeClass> = self.exact().collect();
        classes.sort_by_key(|class| (std::cmp::Reverse(class.bytes), class.from_bytes));
        classes.truncate(limit);
        classes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exact_and_larger_sizes() {
        let mut sizes = Sizes::default();
        for bytes in [32, 32, 48, 7168, 200 << 10, 255 << 10, 1 << 40] {
            sizes.add(bytes);
        }
        sizes.remove(32);
        let exact: Vec<_> = sizes.exact().map(|class| (class.from_bytes, class.count, class.bytes)).collect();
        assert_eq!(
            exact,
            [(32, 1, 32), (48, 1, 48), (7168, 1, 7168), (128 << 10, 2, 455 << 10), (1 << 40, 1, 1 << 40)]
        );
        let histogram: Vec<_> =
            sizes.histogram().iter().map(|class| (class.from_bytes, class.to_bytes, class.count)).collect();
        assert_eq!(histogram[..2], [(32, 48, 2), (4096, 8176, 1)]);
        assert_eq!(sizes.largest(1)[0].from_bytes, 1 << 40);
    }
}
