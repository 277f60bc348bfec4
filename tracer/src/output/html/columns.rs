//! Columns of numbers, as typed arrays of a browser read them: little-endian, each at a multiple of eight bytes.

use std::collections::HashMap;

use serde::Serialize;

/// Columns while they are put together.
#[derive(Default)]
pub(super) struct Columns {
    bytes: Vec<u8>,
    places: HashMap<&'static str, Place>,
}

/// Place of a column.
#[derive(Clone, Copy, Serialize)]
pub(super) struct Place {
    /// `i32` or `f64`.
    of: &'static str,
    at: usize,
    length: usize,
}

impl Columns {
    /// Adds a column of indices.
    pub(super) fn add_i32(&mut self, name: &'static str, values: &[i32]) {
        // The bytes of each significance together: they compress better.
        self.begin(name, "i32", values.len());
        for shift in 0..4 {
            self.bytes.extend(values.iter().map(|value| (value >> (8 * shift)) as u8));
        }
    }

    /// Adds a column of bytes and counts.
    pub(super) fn add_f64(&mut self, name: &'static str, values: &[f64]) {
        self.begin(name, "f64", values.len());
        for shift in 0..8 {
            self.bytes.extend(values.iter().map(|value| (value.to_bits() >> (8 * shift)) as u8));
        }
    }

    fn begin(&mut self, name: &'static str, of: &'static str, length: usize) {
        self.bytes.resize(self.bytes.len().next_multiple_of(8), 0);
        self.places.insert(name, Place { of, at: self.bytes.len(), length });
    }

    /// The columns, and where each is.
    pub(super) fn finish(self) -> (Vec<u8>, HashMap<&'static str, Place>) {
        (self.bytes, self.places)
    }
}
