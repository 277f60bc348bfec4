//! Rows of several stacks, found by their stack.

use super::StackRef;

/// Rows, each of a stack. Those of one stack are in the order in which they were given.
#[derive(Clone, Debug)]
pub struct ByStack<T>(Vec<(StackRef, T)>);

impl<T> Default for ByStack<T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<T> ByStack<T> {
    /// The rows of a stack.
    pub fn of(&self, stack: StackRef) -> impl Iterator<Item = &T> {
        let start = self.0.partition_point(|(other, _)| *other < stack);
        let rest = self.0.get(start..).unwrap_or_default();
        rest.iter().take_while(move |(other, _)| *other == stack).map(|(_, row)| row)
    }
}

impl<T> FromIterator<(StackRef, T)> for ByStack<T> {
    fn from_iter<I: IntoIterator<Item = (StackRef, T)>>(rows: I) -> Self {
        let mut rows: Vec<(StackRef, T)> = rows.into_iter().collect();
        // Stable, and quick where they are in order already, as a recording has them.
        rows.sort_by_key(|(stack, _)| *stack);
        Self(rows)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn each_stack_has_its_rows_in_their_order(rows in prop::collection::vec((0_u32..6, any::<u8>()), 0..40)) {
            let by_stack: ByStack<u8> = rows.iter().map(|&(stack, row)| (StackRef(stack), row)).collect();
            for stack in 0..8 {
                let expected: Vec<u8> = rows.iter().filter(|row| row.0 == stack).map(|row| row.1).collect();
                prop_assert_eq!(by_stack.of(StackRef(stack)).copied().collect::<Vec<u8>>(), expected);
            }
        }
    }
}
