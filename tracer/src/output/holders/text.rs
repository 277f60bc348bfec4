//! Holders of native memory, for people.

use std::fmt::Write;
use std::time::Duration;

use super::path::describe_step;
use crate::holders::{Group, Holders, Method, Notice, State, Subject};
use crate::hotspot::heap::Step;
use crate::output::units::{bytes, count, counted};
use crate::output::{Screen, clean, of_command, style::Style};
use crate::process::Pid;

/// Groups that are shown, if nothing else is said.
const MAX_ROWS: usize = 40;
const INDENT: &str = "                                   ";
const WIDTH: usize = 100;

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
    let mut page =
        Page { out: String::new(), style: Style::new(screen.color, 0), top: screen.top.unwrap_or(MAX_ROWS) };
    page.heading(holders, subject);
    page.findings(holders);
    page.groups(&holders.groups);
    page.quality(holders);
    page.out
}

struct Page {
    out: String,
    style: Style,
    top: usize,
}

impl Page {
    fn line(&mut self, text: &str) {
        self.out.push_str(text.trim_end());
        self.out.push('\n');
    }

    fn heading(&mut self, holders: &Holders, subject: &Subject) {
        let mut text = match &subject.core {
            Some(core) => format!("Holders in {}", clean(&core.display().to_string())),
            None => {
                format!("Holders in {} (pid {})", of_command(&subject.command, &subject.comm), subject.pid)
            }
        };
        if let Some(version) = &subject.version {
            let _ = write!(text, ", JVM {}", clean(version));
        }
        let _ = write!(text, ", {}", holders.gc);
        let text = self.style.bold(&text);
        self.line(&text);
        let pause = &holders.pause;
        let how = match (pause.method, pause.held) {
            (Method::Ptrace, Some(held)) => {
                let predicted = pause
                    .predicted
                    .map_or_else(String::new, |predicted| format!(" (predicted: {})", time(predicted)));
                format!("held for {}{predicted}", time(held))
            }
            (Method::Core, _) => "from a core file".to_owned(),
            _ => {
                format!("not held: {} without stopping, which prove no garbage", counted(pause.looks, "look"))
            }
        };
        self.line(&format!("{} of Java heap in use; {how}", bytes(holders.heap_bytes)));
    }

    fn findings(&mut self, holders: &Holders) {
        self.out.push('\n');
        if holders.findings.is_empty() {
            self.line("Nothing stands out.");
            return;
        }
        let title = self.style.bold("Findings");
        self.line(&title);
        for (number, finding) in (1..).zip(&holders.findings) {
            self.line(&format!("{number:>3}. {}: {}", bytes(finding.bytes), clean(&finding.evidence)));
            self.line(&format!("     {}", finding.advice));
        }
    }

    fn groups(&mut self, groups: &[Group]) {
        self.out.push('\n');
        let title = format!("{:>11} {:>9}  {:<11}  who has the address", "bytes", "blocks", "state");
        let title = self.style.bold(&title);
        self.line(&title);
        // Memory that no object has is at the end: nobody can change it.
        let (owned, others): (Vec<&Group>, Vec<&Group>) =
            groups.iter().partition(|group| group.owner.is_some());
        for group in owned.iter().take(self.top).chain(&others) {
            let about = if group.exact { "" } else { "~" };
            let owner = group.owner.as_ref().map_or_else(
                || "no Java object".to_owned(),
                |owner| format!("{}.{}", owner.class, owner.field),
            );
            self.line(&format!(
                "{:>11} {:>9}  {:<11}  {}",
                format!("{about}{}", bytes(group.bytes)),
                count(group.count),
                describe(group.state),
                clean(&owner)
            ));
            self.path(&group.path);
        }
        if owned.len() > self.top {
            let rest = owned.iter().skip(self.top);
            let sum = rest.clone().map(|group| group.bytes).fold(0, u64::saturating_add);
            let blocks = rest.map(|group| group.count).sum();
            self.line(&format!(
                "{:>11} {:>9}  in {} (--format json has them)",
                bytes(sum),
                count(blocks),
                counted((owned.len() - self.top) as u64, "more group")
            ));
        }
    }

    /// The path, wrapped at its arrows.
    fn path(&mut self, path: &[Step]) {
        if path.is_empty() {
            return;
        }
        let mut line = INDENT.to_owned();
        for (index, step) in path.iter().enumerate() {
            let text = describe_step(step);
            let arrow = if index == 0 { "" } else { " -> " };
            if index > 0 && line.chars().count() + arrow.len() + text.chars().count() > WIDTH {
                self.line(&line);
                line = format!("{INDENT}  -> {text}");
            } else {
                line.push_str(arrow);
                line.push_str(&text);
            }
        }
        self.line(&line);
    }

    fn quality(&mut self, holders: &Holders) {
        let quality = &holders.quality;
        self.out.push('\n');
        let title = self.style.bold("Data quality");
        self.line(&title);
        self.line(&format!(
            "  {} reached; {} led nowhere{}",
            counted(quality.heap.objects, "object"),
            counted(quality.heap.unknown + quality.heap.outside, "reference"),
            if quality.consistent { ": of one moment" } else { ": not of one moment" }
        ));
        if quality.retries > 0 {
            self.line(&format!("  {} had to be repeated (collections)", counted(quality.retries, "look")));
        }
        if quality.bad_places > 0 {
            self.line(&format!(
                "  dead objects made no sense at {}: garbage there may be missing",
                counted(quality.bad_places, "place")
            ));
        }
        for (_, why) in holders.unknown.iter().filter(|(path, _)| *path != "pause.held_ns") {
            self.line(&format!("  {}", clean(why)));
        }
        self.line("  states: held; stack (a thread's stack or registers, may be stale); soft; collectable (garbage: only");
        self.line(
            "  a cleaner or finalizer has it); lost (unreachable, and nothing frees it); unseen; ~ is about",
        );
    }
}

fn describe(state: State) -> &'static str {
    match state {
        State::Lost => "LOST",
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
