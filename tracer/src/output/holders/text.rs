//! Holders of native memory, for people.

use std::fmt::Write;
use std::io;
use std::time::Duration;

use unicode_width::UnicodeWidthStr;

use super::path::describe_step;
use crate::holders::{Group, HolderState, Holders, Method, Notice, Subject};
use crate::hotspot::heap::Step;
use crate::output::answer::screen::Screen as Page;
use crate::output::units::{bytes, count, counted};
use crate::output::{Screen, clean, of_command, style::Style};
use crate::process::Pid;
use crate::profile::by_line::{with_initials, without_package};

/// Groups that are shown, if nothing else is said.
const MAX_ROWS: usize = 40;
const INDENT: &str = "     ";
const STATES: &str = "states: held; stack (a thread's stack or registers, may be stale); soft; collectable (garbage: only \
                      a cleaner or finalizer has it); lost (unreachable, and nothing frees it); unseen; ~ is about";

/// The step that is about to happen to the process, in one line. `None` for a step that nobody sees.
pub fn notice(notice: &Notice, pid: Pid) -> Option<String> {
    Some(match notice {
        Notice::WillHold(prediction) => format!(
            "process {pid} will be held for about {} ({} of Java heap in use); tracer needs {} of memory",
            time(prediction.pause),
            bytes(prediction.used_bytes),
            bytes(prediction.memory_bytes)
        ),
        Notice::TooLong { prediction, max_pause } => format!(
            "not held: {} of Java heap in use would take about {}, more than --max-pause {}; looking without stopping \
             (as --no-stop does)",
            bytes(prediction.used_bytes),
            time(prediction.pause),
            max_pause.as_millis()
        ),
        Notice::Held { held } => format!("process {pid} was held for {}", time(*held)),
        Notice::WillLook { used_bytes, memory_bytes } => format!(
            "process {pid} is not stopped: several looks at {} of Java heap; tracer needs {} of memory",
            bytes(*used_bytes),
            bytes(*memory_bytes)
        ),
        Notice::Moment => return None,
    })
}

/// The answer as text.
pub fn render(holders: &Holders, subject: &Subject, screen: Screen) -> String {
    let mut out = Vec::new();
    let top = screen.top.unwrap_or(MAX_ROWS);
    let mut page = Page::of(Style::new(screen.color, screen.width), &mut out);
    // Writing to memory does not fail.
    let _ = heading(holders, subject, &mut page)
        .and_then(|()| findings(holders, &mut page))
        .and_then(|()| groups(&holders.groups, top, &mut page))
        .and_then(|()| quality(holders, &mut page));
    String::from_utf8_lossy(&out).into_owned()
}

fn heading(holders: &Holders, subject: &Subject, page: &mut Page<'_>) -> io::Result<()> {
    let mut text = match &subject.core {
        Some(core) => format!("Holders in {}", clean(&core.display().to_string())),
        None => format!("Holders in {} (pid {})", of_command(&subject.command, &subject.comm), subject.pid),
    };
    if let Some(version) = &subject.version {
        let _ = write!(text, ", JVM {}", clean(version));
    }
    let _ = write!(text, ", {}", holders.gc);
    page.title(&text)?;
    let pause = &holders.pause;
    let how = match (pause.method, pause.held) {
        (Method::Ptrace, Some(held)) => {
            let predicted = pause
                .predicted
                .map_or_else(String::new, |predicted| format!(" (predicted: {})", time(predicted)));
            format!("held for {}{predicted}", time(held))
        }
        (Method::Core, _) => "from a core file".to_owned(),
        _ => format!("not held: {} without stopping, which prove no garbage", counted(pause.looks, "look")),
    };
    page.paragraph("", &format!("{} of Java heap in use; {how}", bytes(holders.heap_bytes)))
}

fn findings(holders: &Holders, page: &mut Page<'_>) -> io::Result<()> {
    page.gap()?;
    if holders.groups.is_empty() {
        return page.paragraph("", "No native block is kept by such an object, or through one.");
    }
    if holders.findings.is_empty() {
        return page.paragraph("", "Nothing stands out.");
    }
    page.title("Findings")?;
    for (number, finding) in (1..).zip(&holders.findings) {
        let text = format!("{}: {}", bytes(finding.bytes), clean(&finding.evidence));
        page.paragraph(&format!("{number:>2}. "), &text)?;
        page.paragraph("    ", finding.advice)?;
    }
    Ok(())
}

fn groups(groups: &[Group], top: usize, page: &mut Page<'_>) -> io::Result<()> {
    if groups.is_empty() {
        return Ok(());
    }
    page.gap()?;
    page.row("", &["Who has the address".to_owned()], &cells("bytes", "blocks", "state"))?;
    // Memory that no object has is at the end: nobody can change it.
    let (owned, others): (Vec<&Group>, Vec<&Group>) = groups.iter().partition(|group| group.owner.is_some());
    for group in owned.iter().take(top).chain(&others) {
        let about = if group.exact { "" } else { "~" };
        let names = group.owner.as_ref().map_or_else(
            || vec!["no Java object".to_owned()],
            |owner| {
                let name = clean(&owner.to_string()).into_owned();
                let (initials, short) =
                    (with_initials(&name).into_owned(), without_package(&name).to_owned());
                vec![name, initials, short]
            },
        );
        let bytes = format!("{about}{}", bytes(group.bytes));
        page.row("", &names, &cells(&bytes, &count(group.count), describe(group.state)))?;
        path(&group.path, page)?;
    }
    if owned.len() > top {
        let rest = owned.iter().skip(top);
        let sum = rest.clone().map(|group| group.bytes).fold(0, u64::saturating_add);
        let blocks = rest.map(|group| group.count).sum();
        let more = format!("{} (--format json)", counted((owned.len() - top) as u64, "more group"));
        page.row("", &[more], &cells(&bytes(sum), &count(blocks), ""))?;
    }
    Ok(())
}

/// Columns behind a name.
fn cells(bytes: &str, blocks: &str, state: &str) -> String {
    format!("{bytes:>10} {blocks:>7}  {state:<11}")
}

/// The path, wrapped at its arrows.
fn path(path: &[Step], page: &mut Page<'_>) -> io::Result<()> {
    let mut line = String::new();
    for (index, step) in path.iter().enumerate() {
        let text = describe_step(step);
        let arrow = if index == 0 { "" } else { " -> " };
        if index > 0 && INDENT.width() + line.width() + arrow.len() + text.width() > page.width {
            page.paragraph(INDENT, &line)?;
            line = format!("-> {text}");
        } else {
            line.push_str(arrow);
            line.push_str(&text);
        }
    }
    if line.is_empty() { Ok(()) } else { page.paragraph(INDENT, &line) }
}

fn quality(holders: &Holders, page: &mut Page<'_>) -> io::Result<()> {
    let quality = &holders.quality;
    page.gap()?;
    page.title("Data quality")?;
    let text = format!(
        "{} reached; {} led nowhere{}",
        counted(quality.heap.objects, "object"),
        counted(quality.heap.unknown + quality.heap.outside, "reference"),
        if quality.consistent { ": a copy of one moment" } else { ": no copy of one moment" }
    );
    page.paragraph("  ", &text)?;
    if quality.retries > 0 {
        let text = format!("{} had to be repeated (collections)", counted(quality.retries, "look"));
        page.paragraph("  ", &text)?;
    }
    if quality.bad_places > 0 {
        let places = counted(quality.bad_places, "place");
        let text = format!("dead objects made no sense at {places}: garbage there may be missing");
        page.paragraph("  ", &text)?;
    }
    for (_, why) in holders.unknown.iter().filter(|(path, _)| *path != "pause.held_ns") {
        page.paragraph("  ", &clean(why))?;
    }
    page.paragraph("  ", STATES)
}

fn describe(state: HolderState) -> &'static str {
    match state {
        HolderState::Lost => "LOST",
        state => state.as_str(),
    }
}

fn time(duration: Duration) -> String {
    let milliseconds = duration.as_secs_f64() * 1e3;
    match milliseconds {
        long if long >= 10_000.0 => format!("{:.1} s", long / 1e3),
        long if long >= 10.0 => format!("{long:.0} ms"),
        short => format!("{short:.1} ms"),
    }
}
