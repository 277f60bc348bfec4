//! Name of a library, from its path: the same in every run of a program.

use std::borrow::Cow;

use crate::process::module::file_name;

/// Digits in a row that are no version but were drawn: `File.createTempFile` and `mkstemp` for a library that
/// was unpacked from a jar.
const DRAWN_DIGITS: usize = 12;
/// Hexadecimal digits of a UUID, between its hyphens.
const UUID: [usize; 5] = [8, 4, 4, 4, 12];

/// The file's name of a module's path, with `#` for what was drawn for this copy of the file.
pub fn known_name(path: &str) -> Cow<'_, str> {
    without_random_numbers(file_name(path))
}

/// `text` with `#` for each number that was drawn, and each UUID.
pub fn without_random_numbers(text: &str) -> Cow<'_, str> {
    let mut known = String::new();
    let mut kept = 0;
    let mut at = 0;
    while let Some(rest) = text.get(at..).filter(|rest| !rest.is_empty()) {
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        let drawn = uuid(rest).unwrap_or(if digits < DRAWN_DIGITS { 0 } else { digits });
        if drawn > 0 {
            known.push_str(text.get(kept..at).unwrap_or_default());
            known.push('#');
            kept = at + drawn;
        }
        at += drawn.max(rest.chars().next().map_or(1, char::len_utf8));
    }
    match kept {
        0 => Cow::Borrowed(text),
        _ => Cow::Owned(known + text.get(kept..).unwrap_or_default()),
    }
}

/// Bytes of the UUID that `text` begins with.
fn uuid(text: &str) -> Option<usize> {
    let mut at = 0;
    for (part, length) in UUID.into_iter().enumerate() {
        if part > 0 {
            at += 1;
            text.get(at - 1..at).filter(|hyphen| *hyphen == "-")?;
        }
        text.get(at..at + length).filter(|digits| digits.bytes().all(|digit| digit.is_ascii_hexdigit()))?;
        at += length;
    }
    Some(at)
}

/// The name under which a library is known, near to its soname: what follows the first number
/// after `.so` is dropped, so `libfoo.so.6.0.30` is `libfoo.so.6`.
pub(super) fn library_name(path: &str) -> String {
    let name = known_name(path);
    match name.split_once(".so.") {
        Some((stem, version)) => {
            let major = version.split('.').next().unwrap_or_default();
            format!("{stem}.so.{major}")
        }
        None => name.into_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn libraries_are_known_by_their_first_version_number() {
        assert_eq!(library_name("/usr/lib/libstdc++.so.6.0.30"), "libstdc++.so.6");
        assert_eq!(library_name("/tmp/librocksdbjni-linux64.so"), "librocksdbjni-linux64.so");
        assert_eq!(library_name("/opt/app/leaky (deleted)"), "leaky");
    }

    #[test]
    fn copies_that_were_unpacked_have_one_name() {
        for (path, name) in [
            ("/tmp/libzstd-jni-1.5.5-47036431864326588345.so (deleted)", "libzstd-jni-1.5.5-#.so"),
            ("/tmp/librocksdbjni1885248121794197335.so", "librocksdbjni#.so"),
            (
                "/tmp/snappy-1.1.10-2c8e2f2e-1a2b-4c3d-9e8f-0123456789ab-libsnappyjava.so",
                "snappy-1.1.10-#-libsnappyjava.so",
            ),
            (
                "/tmp/libnetty_transport_native_epoll_x86_648124011733519237720.so",
                "libnetty_transport_native_epoll_x86_#.so",
            ),
            ("/usr/lib/libsqlite3.so.0.8.6", "libsqlite3.so.0"),
            ("/opt/libacme-20240131.so", "libacme-20240131.so"),
            ("/opt/2c8e2f2e-1a2b-4c3d-9e8f-0123456789a", "2c8e2f2e-1a2b-4c3d-9e8f-0123456789a"),
        ] {
            assert_eq!(library_name(path), name, "{path}");
        }
    }

    proptest::proptest! {
        #[test]
        fn what_was_drawn_is_left_out_once(text in "[a-f0-9é-]{0,60}|[0-9]{10,14}é[0-9]{10,14}") {
            let known = without_random_numbers(&text);
            proptest::prop_assert!(known.len() <= text.len());
            proptest::prop_assert_eq!(without_random_numbers(&known), &*known);
        }
    }
}
