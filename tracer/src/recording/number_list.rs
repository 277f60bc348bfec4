//! Lists of natural numbers in a column: JSON, of one array, or of arrays of equal length in one.
//!
//! A recording has millions of such numbers, so they are read by what tells them apart alone: digits, and what stands
//! between numbers. Text that holds anything else is damage.

use std::fmt::Write;

/// Digits of the largest number: fewer never are more than it.
const DIGITS: usize = 20;

/// The numbers of a list, in their order. An error, once and at the end: the text is no such list, or a number is
/// larger than 2^64.
pub(super) fn read(text: &str) -> impl Iterator<Item = Result<u64, Damaged>> {
    let mut rest = text.as_bytes();
    std::iter::from_fn(move || {
        while let [b'[' | b']' | b',', after @ ..] = rest {
            rest = after;
        }
        let digits = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
        let number = match rest.split_at(digits) {
            ([], []) => return None,
            ([], _) => Err(Damaged),
            (digits, after) => {
                rest = after;
                value(digits)
            }
        };
        if number.is_err() {
            rest = &[];
        }
        Some(number)
    })
}

/// The number that has these digits.
#[inline]
fn value(digits: &[u8]) -> Result<u64, Damaged> {
    let digit = |byte: &u8| u64::from(byte - b'0');
    if digits.len() < DIGITS {
        return Ok(digits.iter().fold(0, |number, byte| number * 10 + digit(byte)));
    }
    let next = |number: u64, byte: &u8| number.checked_mul(10)?.checked_add(digit(byte));
    digits.iter().try_fold(0, next).ok_or(Damaged)
}

/// The arrays of a list of arrays, which have `N` numbers each.
pub(super) fn read_arrays<const N: usize>(text: &str) -> impl Iterator<Item = Result<[u64; N], Damaged>> {
    let mut numbers = read(text);
    std::iter::from_fn(move || {
        let mut array = [0; N];
        for (at, place) in array.iter_mut().enumerate() {
            match numbers.next() {
                Some(Ok(number)) => *place = number,
                None if at == 0 => return None,
                Some(Err(Damaged)) | None => return Some(Err(Damaged)),
            }
        }
        Some(Ok(array))
    })
}

/// The text of a column is no list of numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Damaged;

/// The text of a list of arrays.
pub(super) fn text_of<const N: usize>(arrays: impl Iterator<Item = [u64; N]>) -> String {
    let mut text = String::from("[");
    for (at, array) in arrays.enumerate() {
        if at > 0 {
            text.push(',');
        }
        push_array(&mut text, array);
    }
    text.push(']');
    text
}

/// Adds an array to the text of a list.
pub(super) fn push_array(text: &mut String, numbers: impl IntoIterator<Item = u64>) {
    text.push('[');
    for (at, number) in numbers.into_iter().enumerate() {
        // A string takes all that is written.
        let _ = write!(text, "{}{number}", if at == 0 { "" } else { "," });
    }
    text.push(']');
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn text_that_is_no_list_is_damage() {
        let all = |text: &str| read(text).collect::<Result<Vec<u64>, Damaged>>();
        assert_eq!(all("[]"), Ok(Vec::new()));
        assert_eq!(all("[[1,20],[18446744073709551615,0]]"), Ok(vec![1, 20, u64::MAX, 0]));
        for text in ["[1, 2]", "[-1]", "[1.5]", "null", "{\"a\":1}", "[18446744073709551616]", "[1,x]"] {
            assert_eq!(all(text), Err(Damaged), "{text}");
            assert!(read(text).count() <= 2, "{text}");
        }
    }

    proptest! {
        #[test]
        fn numbers_are_read_as_they_were_written(arrays in prop::collection::vec(any::<[u64; 3]>(), 0..9)) {
            let text = text_of(arrays.iter().copied());
            prop_assert_eq!(&serde_json::from_str::<Vec<[u64; 3]>>(&text).expect("JSON"), &arrays);
            prop_assert_eq!(read_arrays(&text).collect::<Result<Vec<[u64; 3]>, Damaged>>(), Ok(arrays.clone()));
            let numbers: Vec<u64> = arrays.concat();
            prop_assert_eq!(read(&text).collect::<Result<Vec<u64>, Damaged>>(), Ok(numbers));
            // What is left over is no array.
            let last = read_arrays::<2>(&text).last();
            prop_assert_eq!(last == Some(Err(Damaged)), arrays.len() % 2 == 1);
        }
    }
}
