//! Names as they are shown. They come from the traced process, so they may hold anything.

use std::borrow::Cow;

use crate::attribute::{known_name, plain_name};
use crate::profile::SiteFrame;
use crate::symbolize::FrameKind;

/// `text` without what would act on a terminal or break a line: control characters, and those that
/// turn the direction of writing.
pub fn clean(text: &str) -> Cow<'_, str> {
    let acts = |char: char| {
        char.is_control()
            || matches!(char, '\u{2028}' | '\u{2029}' | '\u{200e}' | '\u{200f}')
            || matches!(char, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{fffe}' | '\u{ffff}')
    };
    if text.contains(acts) { Cow::Owned(text.replace(acts, "\u{fffd}")) } else { Cow::Borrowed(text) }
}

/// The function without parameters; without a name, with its module.
pub(super) fn function(frame: &SiteFrame) -> String {
    let name = match frame.kind {
        FrameKind::Java => &frame.function,
        _ => plain_name(&frame.function),
    };
    let name = clean(name);
    match &frame.module {
        Some(module) if name.starts_with("[unknown") => format!("{name} ({})", clean(&known_name(module))),
        _ => name.into_owned(),
    }
}

/// The function and where it is: `com.acme.Feed.open (Feed.java:17)`, `inflateInit2_ (libz.so.1)`,
/// `grow (leaky.c:12 in leaky)`.
pub(super) fn place(frame: &SiteFrame) -> String {
    let name = function(frame);
    let line = match (&frame.file, frame.line) {
        (Some(file), Some(line)) if line > 0 => Some(format!("{}:{line}", clean(base(file)))),
        _ => None,
    };
    match (line, frame.module.as_deref()) {
        (Some(line), Some(module)) => format!("{name} ({line} in {})", clean(&known_name(module))),
        (Some(line), None) => format!("{name} ({line})"),
        (None, Some(module)) if !name.starts_with("[unknown") => {
            format!("{name} ({})", clean(&known_name(module)))
        }
        _ => name,
    }
}

fn base(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or(path)
}

/// `text` in at most `width` characters; what is left out is in the middle, marked by `…`.
pub fn fit(text: &str, width: usize) -> Cow<'_, str> {
    let length = text.chars().count();
    if length <= width {
        return Cow::Borrowed(text);
    }
    let keep = width.saturating_sub(1);
    // The end says more: the method, the library's version.
    let tail = keep * 2 / 3;
    let head: String = text.chars().take(keep - tail).collect();
    let tail: String = text.chars().skip(length - tail).collect();
    Cow::Owned(format!("{head}…{tail}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_cannot_act() {
        assert_eq!(clean("a\u{1b}[31mb\nc\u{202e}d"), "a\u{fffd}[31mb\u{fffd}c\u{fffd}d");
        assert!(matches!(clean("com.acme.Größe.<init>"), Cow::Borrowed(_)));
    }

    #[test]
    fn what_does_not_fit_is_cut_in_the_middle() {
        assert_eq!(fit("abcdefghij", 10), "abcdefghij");
        assert_eq!(fit("abcdefghijk", 10), "abc…fghijk");
        assert_eq!(fit("abc", 1), "…");
        assert_eq!(fit("abc", 0).chars().count(), 1);
    }
}
