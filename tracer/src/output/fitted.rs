//! Lines cut to the width of the screen.

use std::io::{self, Write};

use unicode_width::UnicodeWidthChar;

/// Passes text on, and of each line what fits. Escape sequences take no room, and are passed on all.
pub(super) struct Fitted<'a> {
    out: &'a mut dyn Write,
    width: usize,
    line: Vec<u8>,
}

impl<'a> Fitted<'a> {
    pub(super) fn new(out: &'a mut dyn Write, width: usize) -> Fitted<'a> {
        Fitted { out, width, line: Vec::new() }
    }

    fn end_line(&mut self) -> io::Result<()> {
        let line = std::mem::take(&mut self.line);
        self.out.write_all(cut(&String::from_utf8_lossy(&line), self.width).as_bytes())
    }
}

impl Write for Fitted<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut rest = bytes;
        while let Some(end) = rest.iter().position(|&byte| byte == b'\n') {
            let (line, after) = rest.split_at(end);
            self.line.extend_from_slice(line);
            self.end_line()?;
            self.out.write_all(b"\n")?;
            rest = after.get(1..).unwrap_or_default();
        }
        self.line.extend_from_slice(rest);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        if !self.line.is_empty() {
            self.end_line()?;
        }
        self.out.flush()
    }
}

/// `line` in at most `width` columns.
pub(super) fn cut(line: &str, width: usize) -> String {
    let mut kept = String::with_capacity(line.len());
    let (mut used, mut is_escape) = (0, false);
    for char in line.chars() {
        if is_escape {
            kept.push(char);
            is_escape = char != 'm';
            continue;
        }
        if char == '\x1b' {
            kept.push(char);
            is_escape = true;
            continue;
        }
        used += char.width().unwrap_or(0);
        if used <= width {
            kept.push(char);
        }
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fitted(text: &str, width: usize) -> String {
        let mut out = Vec::new();
        let mut fitted = Fitted::new(&mut out, width);
        write!(fitted, "{text}").and_then(|()| fitted.flush()).expect("write");
        String::from_utf8(out).expect("UTF-8")
    }

    #[test]
    fn what_does_not_fit_is_left_out() {
        assert_eq!(fitted("abcdef\nab\n\nabcd", 3), "abc\nab\n\nabc");
        assert_eq!(fitted("\x1b[1mabcdef\x1b[0m\n", 3), "\x1b[1mabc\x1b[0m\n");
        // Each of these takes two columns.
        assert_eq!(fitted("漢字仮名\n", 5), "漢字\n");
        assert_eq!(fitted("abc", usize::MAX), "abc");
    }
}
