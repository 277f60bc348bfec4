//! The report for people: the answer on the first screen, what is below it, and, where asked for, every table.

pub(super) mod census;
mod code;
mod lines;
pub(super) mod memory;
mod quality;
pub(super) mod sites;
pub(super) mod table;
mod threads;
mod touched;
pub(super) mod verdicts;

use std::io::{self, Write};

use super::style::Style;
use super::{Options, View, answer, clean, label, limits, units};
use crate::output::fitted::Fitted;
use crate::profile::Profile;

/// Sites shown, unless told otherwise.
const SITES: usize = 10;
/// Sites of mappings shown at most.
const MAPPING_SITES: usize = 5;

/// Writes the report: the answer; below it what the options ask for.
///
/// # Errors
/// Writing failed.
pub fn render(profile: &Profile, options: &Options, out: &mut dyn Write) -> io::Result<()> {
    answer::render(profile, options, out)?;
    let is_chosen = options.category.is_some() || options.view != View::Live || options.top.is_some();
    if !is_chosen {
        answer::below(profile, options, out)?;
    }
    // Whole stacks are as long as they are.
    let style = Style::new(options.color, options.width);
    let width = if options.verbose { usize::MAX } else { style.width };
    if is_chosen || options.verbose || options.all {
        let mut fitted = Fitted::new(out, width);
        tables(profile, options, style, &mut fitted)?;
        fitted.flush()?;
    }
    Ok(())
}

/// Writes the answer alone: what a person wants to see when a recording ends.
///
/// # Errors
/// Writing failed.
pub fn summary(profile: &Profile, options: &Options, out: &mut dyn Write) -> io::Result<()> {
    answer::render(profile, options, out)
}

/// The tables: with `all` every one, else those of categories and sites.
fn tables(profile: &Profile, options: &Options, style: Style, out: &mut dyn Write) -> io::Result<()> {
    let is_all = options.all && options.category.is_none();
    if is_all {
        memory::balance(profile, style, out)?;
        if let Some(limits) = &profile.limits {
            writeln!(out)?;
            table::write_title("Limits", style, out)?;
            limits::listed(limits, style, out)?;
        }
        census::censuses(&profile.census, style, out)?;
    }
    table::categories(profile, options, style, out)?;
    for source in ["allocator", "mapping"] {
        lines::lines(profile, source, options, out)?;
    }
    let top = options.top.unwrap_or(SITES);
    sites::sites(profile, options, style, ("allocator", top), true, out)?;
    sites::sites(profile, options, style, ("mapping", top.min(MAPPING_SITES)), true, out)?;
    if is_all {
        threads::threads(profile, style, out)?;
        code::code_cache(profile, style, out)?;
        touched::touched(profile, style, out)?;
        quality::write(profile, true, style, out)?;
    }
    Ok(())
}

/// A loss, in words.
pub(in crate::output) fn lost_told(reason: &str) -> String {
    quality::describe(reason)
}
