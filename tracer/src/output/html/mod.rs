//! The page: one file that a browser opens, offline, with the whole report in it.
//!
//! Code and style are hand-written modules, put together as they are; data are columns, compressed. A policy allows
//! just this code and no network. Names are data, and become text in the browser, never markup.

mod columns;
mod courses;
mod data;
mod differs;
mod draft;
mod rows;

use std::io::{self, Write};

use flate2::Compression;
use flate2::write::DeflateEncoder;
use ring::digest::{SHA256, digest};

use super::svg::escaped;
use super::{Options, program_name, with_pid};
use crate::profile::Profile;
use crate::profile::diff::Diff;

/// The modules, each after those that it imports.
const MODULES: [&str; 15] = [
    include_str!("format.js"),
    include_str!("dom.js"),
    include_str!("data.js"),
    include_str!("course.js"),
    include_str!("model.js"),
    include_str!("stacks.js"),
    include_str!("address.js"),
    include_str!("parts.js"),
    include_str!("chart.js"),
    include_str!("flame.js"),
    include_str!("lines.js"),
    include_str!("diff.js"),
    include_str!("tables.js"),
    include_str!("heading.js"),
    include_str!("main.js"),
];
const STYLE: &str = include_str!("page.css");
const BODY: &str = include_str!("body.html");

/// Writes the page of a report.
///
/// # Errors
/// Writing failed.
pub fn render(profile: &Profile, options: &Options, out: &mut dyn Write) -> io::Result<()> {
    let title = format!("{}: native memory", with_pid(&profile.target));
    page(&title, &data::of(profile, options)?, out)
}

/// Writes the page of what differs between two recordings.
///
/// # Errors
/// Writing failed.
pub fn render_diff(diff: &Diff, options: &Options, out: &mut dyn Write) -> io::Result<()> {
    let title = format!("{}: what differs in native memory", program_name(&diff.new.target));
    page(&title, &differs::of(diff, options)?, out)
}

fn page(title: &str, data: &[u8], out: &mut dyn Write) -> io::Result<()> {
    let script = script();
    let title = escaped(title);
    write!(
        out,
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; script-src 'sha256-{}'; \
         style-src 'sha256-{}'; img-src data:; base-uri 'none'; form-action 'none'\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta name=\"color-scheme\" content=\"light dark\">\n<title>{title}</title>\n<style>{STYLE}</style>\n</head>\n",
        base64(digest(&SHA256, script.as_bytes()).as_ref()),
        base64(digest(&SHA256, STYLE.as_bytes()).as_ref()),
    )?;
    out.write_all(BODY.as_bytes())?;
    let mut packed = DeflateEncoder::new(Vec::new(), Compression::best());
    packed.write_all(data)?;
    let packed = packed.finish()?;
    writeln!(out, "<script type=\"application/octet-stream\" id=\"data\">{}</script>", base64(&packed))?;
    writeln!(out, "<script type=\"module\">{script}</script>\n</html>")
}

/// Modules as one script, without comments and indents: what they import from each other is in scope.
fn script() -> String {
    let mut script = String::new();
    let mut is_comment = false;
    for line in MODULES.iter().flat_map(|module| module.lines()) {
        let mut line = line.trim_start();
        if is_comment || line.starts_with("/**") {
            let end = line.split_once("*/");
            is_comment = end.is_none();
            line = end.map_or("", |(_, after)| after.trim_start());
        }
        if line.is_empty() || line.starts_with("//") || line.starts_with("import ") {
            continue;
        }
        script.push_str(line.strip_prefix("export ").unwrap_or(line));
        script.push('\n');
    }
    script
}

/// RFC 4648, section 4.
fn base64(bytes: &[u8]) -> String {
    const DIGITS: [u8; 64] = *b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let digit = |bits: u32| DIGITS.get((bits & 63) as usize).map_or('=', |&digit| char::from(digit));
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for group in bytes.chunks(3) {
        let byte = |at: usize| u32::from(group.get(at).copied().unwrap_or(0));
        let bits = byte(0) << 16 | byte(1) << 8 | byte(2);
        for (at, shift) in [18, 12, 6, 0].into_iter().enumerate() {
            text.push(if at <= group.len() { digit(bits >> shift) } else { '=' });
        }
    }
    text
}

#[cfg(test)]
pub(super) mod tests;
