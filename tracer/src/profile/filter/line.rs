//! A line of code as a person names it: `CLASS.METHOD`, perhaps with `:LINE`.

use std::borrow::Cow;
use std::fmt;

use crate::profile::by_line::{readable, with_initials};

/// A method of the application, or one line of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LinePattern {
    text: String,
    function: String,
    line: Option<u32>,
}

impl LinePattern {
    /// Parses `Class.method`, `package.Class.method` or the name of a native function, with `:LINE` or without it.
    ///
    /// # Errors
    /// There is no name, in words for the person who wrote it.
    pub fn parse(text: &str) -> Result<LinePattern, String> {
        let (name, line) = match text.rsplit_once(':').map(|(name, line)| (name, line.parse::<u32>())) {
            Some((name, Ok(line))) => (name, Some(line)),
            _ => (text, None),
        };
        if name.trim().is_empty() {
            return Err(
                "no line of code; write Class.method or Class.method:LINE, as the report has it".to_owned()
            );
        }
        Ok(LinePattern { text: text.to_owned(), function: readable(name.trim()).into_owned(), line })
    }

    /// Does the pattern name this function, by all of its name, without its package, or by its packages' initials?
    pub(super) fn is_of(&self, function: &str, line: Option<u32>) -> bool {
        let wanted = self.function.as_str();
        let is_end =
            function.strip_suffix(wanted).is_some_and(|before| before.is_empty() || before.ends_with('.'));
        let is_named = is_end || matches!(with_initials(function), Cow::Owned(short) if short == wanted);
        is_named && self.line.is_none_or(|wanted| line == Some(wanted))
    }
}

/// The pattern as it was written.
impl fmt::Display for LinePattern {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_named_as_reports_name_them() {
        let fits = |text: &str| LinePattern::parse(text).expect(text).is_of("com.acme.Feed.open", Some(17));
        for text in
            ["com.acme.Feed.open", "Feed.open", "Feed.open:17", "c.a.Feed.open:17", "acme.Feed.open", "open"]
        {
            assert!(fits(text), "{text}");
        }
        for text in ["Feed.open:18", "eed.open", "Feed", "Feed.ope", "c.b.Feed.open", "open:17:17"] {
            assert!(!fits(text), "{text}");
        }
        let lambda = LinePattern::parse("Feed.lambda$open$3").expect("parses");
        assert!(lambda.is_of("com.acme.Feed.lambda$open", None));
        for wrong in ["", " ", ":7"] {
            assert!(LinePattern::parse(wrong).is_err(), "{wrong:?}");
        }
    }
}
