//! The two numbers that name a stack: its id, which is the same everywhere, and its index in `STACKS`.
//!
//! Both are plain words to the BPF side. They are types of their own because a `u64` and a `u32` are easily
//! taken for one another, and an allocation has the one while a record has the other.

macro_rules! number {
    ($(#[$meta:meta])* $name:ident($word:ty)) => {
        $(#[$meta])*
        #[repr(transparent)]
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[cfg_attr(feature = "user", derive(zerocopy::FromBytes, zerocopy::IntoBytes, zerocopy::Immutable, zerocopy::KnownLayout))]
        pub struct $name(pub $word);

        // SAFETY: an integer.
        #[cfg(feature = "user")]
        unsafe impl aya::Pod for $name {}

        impl core::fmt::Display for $name {
            fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

number! {
    /// The id of a stack: a hash over its frames and the reason for which its walk ended. It is the same in records,
    /// tables and recordings. 0: no stack was taken.
    StackId(u64)
}

number! {
    /// The index of a stack's entry in `STACKS`, which stays for the whole session.
    StackIndex(u32)
}

impl StackId {
    /// No stack was taken.
    pub const ABSENT: Self = Self(0);
    /// The stack on which allocations are booked when `STACKS` is full.
    pub const OVERFLOW: Self = Self(1);
    /// The stack on which allocations are booked when no walk could be made.
    pub const NOT_WALKED: Self = Self(2);

    /// `None` for [`Self::ABSENT`].
    #[inline(always)]
    pub const fn present(self) -> Option<Self> {
        if self.0 == 0 { None } else { Some(self) }
    }
}

impl StackIndex {
    /// The entry of [`StackId::OVERFLOW`].
    pub const OVERFLOW: Self = Self(1);
    /// The entry of [`StackId::NOT_WALKED`].
    pub const NOT_WALKED: Self = Self(2);
    /// The first entry of a stack that was walked.
    pub const FIRST_WALKED: Self = Self(3);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reserved_stacks_have_their_number_as_id_and_as_index() {
        let reserved =
            [(StackId::OVERFLOW, StackIndex::OVERFLOW), (StackId::NOT_WALKED, StackIndex::NOT_WALKED)];
        for (id, index) in reserved {
            assert_eq!(id.0, u64::from(index.0));
            assert!(index < StackIndex::FIRST_WALKED);
        }
        assert_eq!(StackId::ABSENT.present(), None);
        assert_eq!(StackId::OVERFLOW.present(), Some(StackId::OVERFLOW));
    }
}
