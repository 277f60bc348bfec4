//! Prediction of the pause of a process that will be held: from what was measured of it while it runs.
//!
//! The heap is sampled for the rate of copying, everything but stacks is read once as it will be, and the kernel tells
//! how long the process's threads wait for a CPU: a thread stops only when it gets one. Time for each thread is known
//! from measurements.

use std::time::{Duration, Instant};

use super::stopped::{Kinds, NoPages, Stopper, unheld};
use super::{HoldersError, Notice};
use crate::hotspot::heap::{HeapCopy, Space, used_bytes};
use crate::process::Pid;
use crate::process::cpu_time;
use crate::process::memory::BulkMemory;
use crate::process::target::Status;
use crate::process::urgent::{self, Urgent};

/// Read to learn how fast memory is read, in so many parts: the program and others run on meanwhile and slow some down.
const SAMPLE_BYTES: u64 = 128 << 20;
const SAMPLE_PARTS: usize = 8;
/// A huge page: that is what the kernel gives of the copy at once.
const SAMPLE_PIECE_BYTES: u64 = 2 << 20;
/// Least bytes of which a rate is learned.
const MIN_SAMPLE_BYTES: u64 = 4 << 20;
/// Time to stop one thread, to read its registers and stack, and to let it go; and time for everything else.
const THREAD_NS: u64 = 33_000;
const FIXED_NS: u64 = 300_000;
/// Objects of a heap of which none was looked at, and memory for pages of the JVM's and for the answer.
const USUAL_OBJECT_BYTES: u64 = 32;
const REST_BYTES: u64 = 4 << 20;
/// Memory for a thread's stack and registers, as 1,000 idle ones took; and for a handle of a loader with what is known of
/// its class, an estimate.
const THREAD_BYTES: u64 = 12 << 10;
const HANDLE_BYTES: u64 = 300;
/// Rate of reading memory where there is too little to learn it, bytes a second.
const USUAL_RATE: f64 = 5e9;

/// Prediction of the pause of the target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Prediction {
    pub pause: Duration,
    pub used_bytes: u64,
    /// Bytes of tracer's own memory.
    pub memory_bytes: u64,
}

/// Speed of a hold.
#[derive(Clone, Copy, Debug)]
pub(super) struct Speed {
    /// Time of everything but stacks and copy.
    beside_copy: Duration,
    /// Rate of the copy, bytes a second.
    rate: f64,
    /// Mean time for which a thread of the process waits for a CPU.
    turn: Duration,
}

/// What is kept beside the copy of a heap.
#[derive(Clone, Copy, Debug)]
pub(super) struct Kept {
    /// Objects in the copy; if their number is not known, they are of 32 bytes.
    pub(super) objects: Option<u64>,
    pub(super) threads: u64,
    /// Handles of loaders: a class has one, and some have more.
    pub(super) handles: u64,
}

impl Kept {
    /// Bytes beside a copy of so many: a bit for each word, eight bytes for each object, and the rest.
    fn bytes(self, copied_bytes: u64) -> u64 {
        let objects = self.objects.unwrap_or(copied_bytes / USUAL_OBJECT_BYTES);
        copied_bytes / 64
            + 8 * objects
            + self.threads.saturating_mul(THREAD_BYTES)
            + self.handles.saturating_mul(HANDLE_BYTES)
            + REST_BYTES
    }

    /// Tracer's own memory for a look at a heap of which so many bytes are copied.
    pub(super) fn bytes_with_copy(self, copied_bytes: u64) -> u64 {
        copied_bytes.saturating_add(self.bytes(copied_bytes))
    }
}

impl Stopper<'_> {
    /// Measures how fast a hold will be. The copy is made ready for it.
    pub(super) fn measure(&self, copy: &mut HeapCopy) -> Result<Speed, HoldersError> {
        let spaces = self.make_ready(copy, Kinds::Old)?;
        let parts = self.copied(&spaces.used);
        let turn = Duration::from_nanos(cpu_time::waits(self.pid).mean_ns_since(self.waits));
        // As it will be done.
        let urgent = Urgent::begin(urgent::COPIES);
        let begin = Instant::now();
        // Everything but stacks and copy.
        unheld(|| self.access.spaces())?;
        self.access.uncopied(&spaces.used, &self.arrays);
        unheld(|| self.access.roots(&[], &NoPages))?;
        let beside_copy = begin.elapsed();
        let sample = sample(&parts);
        copy.populate(&sample);
        let mut rates = Vec::new();
        for part in sample.chunks(sample.len().div_ceil(SAMPLE_PARTS).max(1)) {
            let bytes = used_bytes(part);
            let ranges = part.iter().map(|piece| piece.bottom..piece.top).collect();
            let begin = Instant::now();
            // A collection may give back what is read meanwhile: then nothing is learned from it.
            let is_read = copy.read_in(&BulkMemory::new(self.pid), ranges, &|| true).is_ok();
            if is_read && bytes >= MIN_SAMPLE_BYTES {
                rates.push(bytes as f64 / begin.elapsed().as_secs_f64().max(1e-9));
            }
        }
        drop(urgent);
        tracing::debug!(?rates, "sampled");
        rates.sort_by(f64::total_cmp);
        let rate = rates.get(rates.len() / 2).copied().unwrap_or(USUAL_RATE);
        let speed = Speed { beside_copy, rate, turn };
        tracing::debug!(?speed, "measured");
        Ok(speed)
    }

    /// Predicts what a hold will take that fills `copy`.
    pub(super) fn predict(&self, spaces: &[Space], speed: &Speed, copy: &HeapCopy) -> Prediction {
        let copied = used_bytes(&self.copied(spaces));
        let threads = self.thread_count();
        let copying = Duration::from_secs_f64(copied as f64 / speed.rate);
        let known = Duration::from_nanos(FIXED_NS + threads * THREAD_NS);
        let pause = known + speed.turn + speed.beside_copy + copying;
        // What was made ready is given, with the rest of its huge pages, and so is what is no longer used.
        let given = Status::read(Pid::own().leader()).map_or(self.own_bytes, |status| status.rss_bytes);
        let to_give = copied.saturating_sub(copy.populated_bytes());
        let memory_bytes = given + to_give + self.kept(copied).bytes(copied);
        Prediction { pause, used_bytes: used_bytes(spaces), memory_bytes }
    }
}

/// Pieces of the parts that are worth a sample, spread evenly over all of them.
fn sample(parts: &[Space]) -> Vec<Space> {
    let every = used_bytes(parts).div_ceil(SAMPLE_BYTES).max(1);
    let mut sample = Vec::new();
    let mut number = 0_u64;
    for part in parts {
        let mut bottom = part.bottom;
        while bottom < part.top {
            let top = part.top.min((bottom / SAMPLE_PIECE_BYTES + 1) * SAMPLE_PIECE_BYTES);
            if number.is_multiple_of(every) {
                sample.push(Space { bottom, top, ..*part });
            }
            (bottom, number) = (top, number + 1);
        }
    }
    sample
}

/// Tells what a hold will take, and gives the last word on it: `again` predicts once more, after the young collection
/// that is worth to be waited for. A process that would be held for too long now may not be then, and the other way round.
pub(super) fn foresee(
    first: Prediction,
    again: impl FnOnce(Prediction) -> Result<Prediction, HoldersError>,
    max_pause: Duration,
    notice: &mut dyn FnMut(&Notice),
) -> Result<Prediction, HoldersError> {
    if first.pause <= max_pause {
        notice(&Notice::WillHold(first));
    }
    let last = again(first)?;
    if last.pause > max_pause {
        notice(&Notice::TooLong { prediction: last, max_pause });
    } else if last != first {
        notice(&Notice::WillHold(last));
    }
    Ok(last)
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: Duration = Duration::from_millis(500);

    fn prediction(ms: u64) -> Prediction {
        Prediction { pause: Duration::from_millis(ms), used_bytes: ms << 20, memory_bytes: 0 }
    }

    /// The limit is held against what a hold will take at last, not against what it would have taken before.
    #[test]
    fn the_last_prediction_counts() {
        let told = |first, last| {
            let mut notices = Vec::new();
            let again = |given| {
                assert_eq!(given, prediction(first));
                Ok(prediction(last))
            };
            let given = foresee(prediction(first), again, LIMIT, &mut |notice| notices.push(*notice));
            assert_eq!(given, Ok(prediction(last)));
            notices
        };
        let held = |ms| Notice::WillHold(prediction(ms));
        let too_long = |ms| Notice::TooLong { prediction: prediction(ms), max_pause: LIMIT };
        assert_eq!(told(400, 400), [held(400)]);
        assert_eq!(told(400, 100), [held(400), held(100)]);
        assert_eq!(told(800, 100), [held(100)]);
        assert_eq!(told(400, 501), [held(400), too_long(501)]);
        assert_eq!(told(800, 800), [too_long(800)]);
        assert_eq!(told(800, 500), [held(500)]);
    }
}
