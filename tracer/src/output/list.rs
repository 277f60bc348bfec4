//! The JVMs of a host: as a table, the largest first, and as JSON (`tracer.list/1`).

use serde_json::{Value, json};

use super::json::jvm;
use super::style::Style;
use super::{Screen, clean, of_command, table, units};
use crate::probe::kernel::Requirement;
use crate::process::jvm::main_class;
use crate::process::target::Target;
use crate::process::{ForeignText, Pid};

/// A JVM, or a process that could be one.
pub struct Row {
    pub pid: Pid,
    pub comm: ForeignText,
    /// `None` if it cannot be read.
    pub target: Option<Target>,
    /// The name of its user, or the number.
    pub user: Option<String>,
    /// Reason why it cannot be traced, and what mends it.
    pub hindrance: Option<(String, String)>,
}

/// The rows as text. `host`: what the host lacks, which stands against all of them.
pub fn text(rows: &[Row], host: Option<&Requirement>, screen: Screen) -> String {
    if rows.is_empty() {
        return "no JVM runs here that this user can see\n".to_owned();
    }
    let mut rows: Vec<&Row> = rows.iter().collect();
    rows.sort_by_key(|row| (std::cmp::Reverse(row.rss_bytes()), row.pid));
    let is_in_container = rows.iter().any(|row| row.container().is_some());
    let is_hindered = host.is_none() && rows.iter().any(|row| row.hindrance.is_some());
    let mut head = vec!["PID", "RSS", "JVM", "USER", "MAIN CLASS"];
    head.extend(is_in_container.then_some("CONTAINER"));
    head.extend(is_hindered.then_some("TRACEABLE"));
    let mut cells = table::new(&head, 0..2);
    let top = screen.top.unwrap_or(usize::MAX);
    for row in rows.iter().take(top) {
        let mut line = vec![
            row.pid.to_string(),
            row.rss_bytes().map_or_else(|| "-".to_owned(), units::bytes),
            clean(&row.jvm()).into_owned(),
            clean(row.user.as_deref().unwrap_or("-")).into_owned(),
            clean(&row.runs()).into_owned(),
        ];
        line.extend(is_in_container.then(|| row.container().unwrap_or_else(|| "-".to_owned())));
        line.extend(is_hindered.then(|| match &row.hindrance {
            Some((why, _)) => format!("no: {}", clean(why)),
            None => "yes".to_owned(),
        }));
        cells.add_row(line);
    }
    let mut out = table::lines(&cells, Style::new(screen.color, 0).unbounded(), false);
    if let Some(more) = rows.len().checked_sub(top).filter(|more| *more > 0) {
        out += &format!("and {} with less\n", units::counted(more as u64, "other"));
    }
    if let Some(lacking) = host {
        out += &format!("\nthis host lacks {}: {}\n", lacking.title, clean(&lacking.found));
    }
    let mut helps: Vec<&str> =
        rows.iter().filter_map(|row| Some(row.hindrance.as_ref()?.1.as_str())).collect();
    helps.sort_unstable();
    helps.dedup();
    for help in helps {
        out += &format!("help: {}\n", clean(help));
    }
    if let Some(row) = rows.iter().find(|row| row.hindrance.is_none()) {
        out += &format!("\nnext: `tracer census -p {0}`, `tracer record -p {0}`\n", row.pid);
    }
    out
}

/// The rows as JSON, by pid.
pub fn json(rows: &[Row]) -> Value {
    json!({ "schema": "tracer.list/1", "jvms": rows.iter().map(row_json).collect::<Vec<_>>() })
}

impl Row {
    fn rss_bytes(&self) -> Option<u64> {
        self.target.as_ref().map(|target| target.rss_bytes)
    }

    /// The beginning of the container's id.
    fn container(&self) -> Option<String> {
        let id = self.target.as_ref()?.container.as_deref()?;
        Some(clean(id).chars().take(12).collect())
    }

    /// Version of the JVM, without its build.
    fn jvm(&self) -> String {
        let version = || self.target.as_ref()?.jvm.as_ref()?.version.as_deref();
        version().map_or("-", |version| version.split(['+', '-']).next().unwrap_or(version)).to_owned()
    }

    /// The main class or jar that the JVM runs, or else the process's name.
    fn runs(&self) -> String {
        let command = self.target.as_ref().map_or(&[][..], |target| &target.command);
        of_command(command, &self.comm.to_string())
    }
}

fn row_json(row: &Row) -> Value {
    let target = row.target.as_ref();
    json!({
        "pid": row.pid,
        "comm": row.comm,
        "jvm": target.and_then(jvm),
        "main": target.and_then(|target| main_class(&target.command)),
        "command": target.map(|target| &target.command),
        "container": target.and_then(|target| target.container.as_ref()),
        "uid": target.map(|target| target.uid),
        "user": row.user,
        "rss_bytes": row.rss_bytes(),
        "traceable": row.hindrance.is_none(),
        "reason": row.hindrance.as_ref().map(|(why, _)| why),
        "help": row.hindrance.as_ref().map(|(_, help)| help),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::probe::kernel::Status;

    fn unreadable() -> Row {
        Row {
            pid: Pid(12),
            comm: ForeignText::from("ja\u{1b}v\u{202e}a"),
            target: None,
            user: None,
            hindrance: Some(("not permitted".into(), "run as root".into())),
        }
    }

    #[test]
    fn a_row_that_cannot_be_read() {
        let row = unreadable();
        let out = text(std::slice::from_ref(&row), None, Screen::default());
        assert!(out.contains("ja\u{fffd}v\u{fffd}a") && out.contains("no: not permitted"), "{out}");
        assert!(out.ends_with("help: run as root\n"), "{out}");
        assert_eq!(row_json(&row)["traceable"], false);
        let lacking = Requirement::lacking("x", "a thing", Status::Missing, "it is gone", "run as root");
        let out = text(std::slice::from_ref(&row), Some(&lacking), Screen::default());
        assert!(out.ends_with("\nthis host lacks a thing: it is gone\nhelp: run as root\n"), "{out}");
    }

    #[test]
    fn the_largest_comes_first_with_its_main_class_whole() {
        let mut target = crate::process::inspect(Pid::own()).expect("this process");
        let main = format!("com.acme.{}.Main", "deep.".repeat(30));
        target.command = vec!["java".to_owned(), main.clone()];
        let large = Row {
            pid: Pid(7),
            comm: ForeignText::from("java"),
            target: Some(target),
            user: Some("app".into()),
            hindrance: None,
        };
        let out = text(&[unreadable(), large], None, Screen::default());
        let lines: Vec<&str> = out.lines().collect();
        assert!(lines[1].trim_start().starts_with("7 ") && lines[1].contains(&main), "{out}");
        assert!(out.ends_with("\nnext: `tracer census -p 7`, `tracer record -p 7`\n"), "{out}");
    }

    #[test]
    fn none() {
        assert!(text(&[], None, Screen::default()).starts_with("no JVM"));
    }
}
