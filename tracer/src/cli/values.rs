//! Values of flags, from text: what is wrong with one is said in words of the flag, not of a library.

use std::time::Duration;

use regex::{Regex, RegexBuilder};

use crate::profile::LinePattern;

/// A compiled pattern has no more than this, so that none takes all memory.
const PATTERN_MAX_BYTES: usize = 1 << 20;

/// A time: seconds, perhaps with decimals, or with units.
pub(super) fn time(text: &str) -> Result<Duration, String> {
    let is_number = text.starts_with(|char: char| char.is_ascii_digit())
        && text.chars().all(|char| char.is_ascii_digit() || char == '.');
    let seconds = is_number.then(|| text.parse::<f64>().ok()).flatten();
    match seconds {
        Some(seconds) => Duration::try_from_secs_f64(seconds).map_err(|_| "too long".to_owned()),
        None => humantime::parse_duration(text)
            .map_err(|_| "not a time; write for example 90, 2.5, 90s, 5m or 1h30m".to_owned()),
    }
}

/// Parses a number of something.
pub(super) fn count(text: &str) -> Result<usize, String> {
    let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    match text.parse() {
        Ok(count) if is_number => Ok(count),
        Err(_) if is_number => Err("larger than any number that can be meant".to_owned()),
        _ => Err("not a number; write for example 10".to_owned()),
    }
}

/// A regular expression. `(?i)` in it makes it take small and capital letters for the same.
pub(super) fn pattern(text: &str) -> Result<Regex, String> {
    RegexBuilder::new(text).size_limit(PATTERN_MAX_BYTES).build().map_err(|error| {
        // The last line says what is wrong; those above draw where.
        let text = error.to_string();
        let why = text.lines().last().unwrap_or_default().trim();
        format!("not a regular expression: {}", why.strip_prefix("error: ").unwrap_or(why))
    })
}

/// A line of code.
pub(super) fn line(text: &str) -> Result<LinePattern, String> {
    LinePattern::parse(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times() {
        for (text, millis) in
            [("90", 90_000), ("2.5", 2_500), ("5m", 300_000), ("0", 0), ("1h30m", 5_400_000)]
        {
            assert_eq!(time(text), Ok(Duration::from_millis(millis)), "{text}");
        }
        for wrong in ["", "-1", ".", "1.2.3", "soon", "1e400", "inf", "NaN", "99999999999999999999999"] {
            assert!(time(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn numbers_and_patterns() {
        assert_eq!(count("0"), Ok(0));
        assert!(count("99999999999999999999999").expect_err("too large").starts_with("larger"));
        for wrong in ["", "-1", "+1", "1.5", "ten"] {
            assert_eq!(count(wrong).expect_err(wrong), "not a number; write for example 10");
        }
        assert!(pattern("^pool-[0-9]+").is_ok());
        assert_eq!(pattern("a(").expect_err("open"), "not a regular expression: unclosed group");
        assert!(pattern(r"(\w{1000}){1000}").is_err());
    }
}
