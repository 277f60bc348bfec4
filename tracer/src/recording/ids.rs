//! Ids of rows → their places in what was read.

use super::columns::ascends;

/// Ids of a table's rows, ascending, as they were read: a row's place is its index.
#[derive(Default)]
pub(super) struct Ids(Vec<i64>);

impl Ids {
    /// Notes the next row.
    pub(super) fn push(&mut self, id: i64) -> rusqlite::Result<()> {
        ascends(self.0.last(), &id)?;
        self.0.push(id);
        Ok(())
    }

    /// Place of the row with this id.
    pub(super) fn place(&self, id: i64) -> Option<u32> {
        // Rows are numbered from 1 on, mostly without gaps.
        let likely = usize::try_from(id.wrapping_sub(1)).ok();
        let place = likely.filter(|&place| self.0.get(place) == Some(&id));
        let place = place.or_else(|| self.0.binary_search(&id).ok())?;
        u32::try_from(place).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_found_with_gaps_and_without() {
        for rows in [&[1, 2, 3][..], &[-9, 0, 2, 3, 5, i64::MAX], &[i64::MIN, 1]] {
            let mut ids = Ids::default();
            rows.iter().for_each(|&id| ids.push(id).expect("ascending"));
            assert!(rows.last().is_some_and(|&last| ids.push(last).is_err()), "twice");
            for (place, &id) in (0..).zip(rows) {
                assert_eq!(ids.place(id), Some(place), "{id}");
            }
            for absent in [4, -1, i64::MIN + 1] {
                assert_eq!(ids.place(absent), None);
            }
        }
    }
}
