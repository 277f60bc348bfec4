//! Lines that fit: names shortened, sentences wrapped, numbers at the right.

use std::io::{self, Write};

use unicode_width::UnicodeWidthStr;

use crate::output::Options;
use crate::output::clean;
use crate::output::style::Style;
use crate::profile::Place;
use crate::profile::by_line::{with_initials, without_package};

/// Destination of the text, and its width.
pub(in crate::output) struct Screen<'a> {
    pub(in crate::output) width: usize,
    pub(in crate::output) style: Style,
    out: &'a mut dyn Write,
}

impl<'a> Screen<'a> {
    pub(in crate::output) fn new(options: &Options, out: &'a mut dyn Write) -> Screen<'a> {
        Screen::of(Style::new(options.color, options.width), out)
    }

    pub(in crate::output) fn of(style: Style, out: &'a mut dyn Write) -> Screen<'a> {
        Screen { width: style.width, style, out }
    }

    /// A title, in bold.
    pub(in crate::output) fn title(&mut self, text: &str) -> io::Result<()> {
        wrapped(text, self.width).iter().try_for_each(|line| writeln!(self.out, "{}", self.style.bold(line)))
    }

    /// A line as it is. It must fit.
    pub(in crate::output) fn line(&mut self, text: &str) -> io::Result<()> {
        writeln!(self.out, "{}", text.trim_end())
    }

    /// An empty line.
    pub(in crate::output) fn gap(&mut self) -> io::Result<()> {
        writeln!(self.out)
    }

    /// Text in lines that fit, the first one after `first` and the others indented as much.
    pub(in crate::output) fn paragraph(&mut self, first: &str, text: &str) -> io::Result<()> {
        let indent = first.width();
        for (at, line) in wrapped(text, self.width.saturating_sub(indent)).iter().enumerate() {
            let start = if at == 0 { first.to_owned() } else { " ".repeat(indent) };
            writeln!(self.out, "{}", format!("{start}{line}").trim_end())?;
        }
        Ok(())
    }

    /// Two texts, one at each end of a line; on two lines if both do not fit.
    pub(in crate::output) fn ends(&mut self, left: &str, right: &str, bold: bool) -> io::Result<()> {
        let (used, style) = (left.width() + right.width(), self.style);
        let emphasized = |text: &str| if bold { style.bold(text) } else { text.to_owned() };
        if used + 2 <= self.width && !right.is_empty() {
            let gap = " ".repeat(self.width - used);
            return self.line(&format!("{}{gap}{right}", emphasized(left)));
        }
        for line in wrapped(left, self.width) {
            self.line(&emphasized(&line))?;
        }
        if right.is_empty() { Ok(()) } else { self.paragraph("  ", right) }
    }

    /// A short text, and numbers at the right.
    pub(in crate::output) fn plain_row(&mut self, text: &str, cells: &str) -> io::Result<()> {
        let gap = self.width.saturating_sub(text.width() + cells.width()).max(1);
        self.line(&format!("{text}{}{cells}", " ".repeat(gap)))
    }

    /// A name and numbers behind it, each in its column at the right; the numbers below the name if both do not fit.
    pub(in crate::output) fn row(&mut self, first: &str, names: &[String], cells: &str) -> io::Result<()> {
        let room = self.width.saturating_sub(first.width() + cells.width() + 1);
        let style = self.style;
        if let Some(name) = names.iter().find(|name| name.width() <= room) {
            let gap = " ".repeat(room - name.width() + 1);
            return self.line(&format!("{first}{}{gap}{cells}", style.bold(name)));
        }
        let name = names.last().map_or("", String::as_str);
        for (at, line) in wrapped(name, self.width.saturating_sub(first.width())).iter().enumerate() {
            let start = if at == 0 { first.to_owned() } else { " ".repeat(first.width()) };
            self.line(&format!("{start}{}", style.bold(line)))?;
        }
        let cells = cells.trim_start();
        let gap = self.width.saturating_sub(cells.width());
        self.line(&format!("{}{cells}", " ".repeat(gap)))
    }
}

/// The names of a place, the longest first: with its package, with the package's initials, without it.
/// `Class.method:line` is never shortened.
pub(in crate::output) fn names(place: &Place) -> Vec<String> {
    let line = match (place.line, &place.file) {
        (Some(line), _) if place.is_java => format!(":{line}"),
        (Some(line), Some(file)) => {
            format!(" ({}:{line})", clean(file.rsplit('/').next().unwrap_or(file)))
        }
        _ => String::new(),
    };
    let function = clean(&place.function);
    let mut names = vec![format!("{function}{line}")];
    if place.is_java {
        names.push(format!("{}{line}", with_initials(&function)));
        names.push(format!("{}{line}", without_package(&function)));
    }
    names
}

/// Text in lines of at most so many columns. A word that is longer is broken.
pub(in crate::output) fn wrapped(text: &str, width: usize) -> Vec<String> {
    let width = width.max(8);
    let mut lines = Vec::new();
    let mut line = String::new();
    let mut used = 0;
    for word in text.split(' ').filter(|word| !word.is_empty()) {
        let length = word.width();
        if used > 0 && used + 1 + length > width {
            lines.push(std::mem::take(&mut line));
            used = 0;
        }
        if used > 0 {
            line.push(' ');
            used += 1;
        }
        if length <= width {
            line.push_str(word);
            used += length;
            continue;
        }
        for char in word.chars() {
            let columns = unicode_width::UnicodeWidthChar::width(char).unwrap_or(0);
            if used + columns > width {
                lines.push(std::mem::take(&mut line));
                used = 0;
            }
            line.push(char);
            used += columns;
        }
    }
    if used > 0 || lines.is_empty() {
        lines.push(line);
    }
    lines
}
