//! Text that another process wrote: names of processes, threads and files. It may hold anything, escape sequences of
//! terminals and characters that turn the direction of writing included, so it has one way to a reader: [`displayable`].

use std::borrow::Cow;
use std::fmt;

use serde::{Deserialize, Serialize};

/// Foreign text. It is displayed through the sanitizer alone; JSON keeps it as it is, by JSON's rules.
#[derive(Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ForeignText(String);

impl ForeignText {
    /// The text as it was written: to be compared or kept, never to be shown.
    pub fn raw(&self) -> &str {
        &self.0
    }

    /// The raw text, as [`Self::raw`].
    pub fn into_raw(self) -> String {
        self.0
    }
}

impl From<String> for ForeignText {
    fn from(text: String) -> Self {
        Self(text)
    }
}

impl From<&str> for ForeignText {
    fn from(text: &str) -> Self {
        Self(text.to_owned())
    }
}

impl fmt::Display for ForeignText {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(&displayable(&self.0))
    }
}

impl fmt::Debug for ForeignText {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "\"{self}\"")
    }
}

/// `text` with U+FFFD in place of each character that would act on a terminal or break a line: control characters, and
/// those that turn the direction of writing.
pub fn displayable(text: &str) -> Cow<'_, str> {
    // Nearly all text is plain, which is told many bytes at a time.
    let is_plain = text.bytes().all(|byte| matches!(byte, b' '..=b'~'));
    if !is_plain && text.contains(acts) {
        Cow::Owned(text.replace(acts, "\u{fffd}"))
    } else {
        Cow::Borrowed(text)
    }
}

fn acts(char: char) -> bool {
    char.is_control()
        || matches!(char, '\u{61c}' | '\u{2028}' | '\u{2029}' | '\u{200b}'..='\u{200f}' | '\u{feff}')
        || matches!(char, '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{fffe}' | '\u{ffff}')
        || matches!(char, '\u{e0000}'..='\u{e007f}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_cannot_act() {
        assert_eq!(
            displayable("a\u{1b}[31mb\nc\u{202e}d\u{9b}e"),
            "a\u{fffd}[31mb\u{fffd}c\u{fffd}d\u{fffd}e"
        );
        assert!(matches!(displayable("com.acme.Größe.<init>"), Cow::Borrowed(_)));
        let name = ForeignText::from("ja\u{1b}va");
        assert_eq!(
            (format!("{name}"), format!("{name:?}")),
            ("ja\u{fffd}va".into(), "\"ja\u{fffd}va\"".into())
        );
        assert_eq!(name.raw(), "ja\u{1b}va");
    }
}
