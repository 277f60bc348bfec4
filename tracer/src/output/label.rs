//! Names as they are shown. They come from the traced process, so they may hold anything.

use std::borrow::Cow;

use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

use crate::attribute::{known_name, plain_name};
pub use crate::process::displayable as clean;
use crate::profile::SiteFrame;
use crate::symbolize::FrameKind;

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

/// `text` in at most `width` columns; what is left out is in the middle, marked by `…`.
pub fn fit(text: &str, width: usize) -> Cow<'_, str> {
    if text.width() <= width {
        return Cow::Borrowed(text);
    }
    let keep = width.saturating_sub(1);
    // The end says more: the method, the library's version.
    let tail = keep * 2 / 3;
    let head = of_columns(text.chars(), keep - tail);
    let tail: String = of_columns(text.chars().rev(), tail).chars().rev().collect();
    Cow::Owned(format!("{head}…{tail}"))
}

/// Characters that fit, as many as do.
fn of_columns(chars: impl Iterator<Item = char>, width: usize) -> String {
    let mut used = 0;
    let fits = |char: &char| {
        used += char.width().unwrap_or(0);
        used <= width
    };
    chars.take_while(fits).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_does_not_fit_is_cut_in_the_middle() {
        assert_eq!(fit("abcdefghij", 10), "abcdefghij");
        assert_eq!(fit("abcdefghijk", 10), "abc…fghijk");
        assert_eq!(fit("abc", 1), "…");
        assert_eq!(fit("abc", 0).chars().count(), 1);
    }
}
