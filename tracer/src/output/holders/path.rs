//! Paths from a root to an owner, as text.

use std::collections::BTreeSet;

use unicode_width::UnicodeWidthStr;

use crate::holders::HolderState;
use crate::hotspot::heap::{Step, StepKind};
use crate::output::clean;
use crate::output::kind::is_of_jdk;

const ARROW: &str = " -> ";
const LEFT_OUT: &str = "...";
/// A word on a stack is no proof: the function that it was for may have ended.
const LEFT_OVER: &str = " (or a word left over there)";

/// A step.
pub(super) fn describe_step(step: &Step) -> String {
    let class = step.class.as_deref().map(short).unwrap_or_default();
    let name = step.name.as_deref().unwrap_or_default();
    let text = match step.kind {
        StepKind::Static => format!("static {}.{name}", step.class.as_deref().unwrap_or("?")),
        StepKind::Field => format!("{class}.{}", if name.is_empty() { "?" } else { name }),
        StepKind::Element => class.to_owned(),
        StepKind::Thread => format!("thread \"{name}\""),
        StepKind::Stack if name.is_empty() => "stack of a virtual thread".to_owned(),
        StepKind::Stack => format!("stack of \"{name}\""),
        StepKind::Loader => format!("class loader {class}"),
        StepKind::Jni if name.is_empty() => "JNI global reference".to_owned(),
        StepKind::Jni => format!("JNI local reference of \"{name}\""),
        StepKind::Internal => format!("({name})"),
    };
    clean(&text).into_owned()
}

/// A path in at most so many columns: its root, and what there is room for of the rest. Fields of the application's
/// classes come first, the nearest to the end before others, because they say which line to look at; then the end. The
/// root is never cut, nor, if it is no static field, the last field of the application's: with these, the path may be
/// wider.
pub(in crate::output) fn in_one_line(path: &[Step], width: usize) -> String {
    let steps: Vec<String> = path.iter().map(describe_step).collect();
    let whole = steps.join(ARROW);
    if whole.width() <= width || steps.is_empty() {
        return whole;
    }
    let of_application = || (1..path.len()).rev().filter(|&at| path.get(at).is_some_and(is_of_application));
    let is_static = path.first().is_some_and(|root| root.kind == StepKind::Static);
    let mut shown: BTreeSet<usize> = of_application().take(usize::from(!is_static)).chain([0]).collect();
    let mut add = |at: usize| {
        let is_new = shown.insert(at);
        let fits = with_gaps(&steps, &shown).width() <= width;
        if is_new && !fits {
            shown.remove(&at);
        }
        fits
    };
    for at in of_application() {
        add(at);
    }
    for at in (1..path.len()).rev() {
        if !add(at) {
            break;
        }
    }
    with_gaps(&steps, &shown)
}

/// The steps that are shown, with a word where others are left out.
fn with_gaps(steps: &[String], shown: &BTreeSet<usize>) -> String {
    let mut parts: Vec<&str> = Vec::new();
    let mut next = 0;
    for &at in shown {
        if at > next {
            parts.push(LEFT_OUT);
        }
        parts.extend(steps.get(at).map(String::as_str));
        next = at + 1;
    }
    if next < steps.len() {
        parts.push(LEFT_OUT);
    }
    parts.join(ARROW)
}

/// Is the step a field that a person wrote?
fn is_of_application(step: &Step) -> bool {
    let class = step.class.as_deref().unwrap_or_default();
    step.kind == StepKind::Field && !is_of_jdk(class) && !class.contains("$$Lambda")
}

/// Holder of something, as a label has it: without a verb around it.
pub(in crate::output) fn in_words(state: HolderState, path: &[Step], width: usize) -> String {
    match state {
        HolderState::Held => in_one_line(path, width),
        HolderState::Stack => {
            format!("{}{LEFT_OVER}", in_one_line(path, width.saturating_sub(LEFT_OVER.len())))
        }
        HolderState::Soft => format!("softly: {}", in_one_line(path, width)),
        HolderState::Collectable => "a cleaner or finalizer alone".to_owned(),
        HolderState::Lost => "nobody: lost".to_owned(),
        HolderState::Unseen => "no holder seen".to_owned(),
        HolderState::None => "no Java object".to_owned(),
    }
}

/// A class without its packages.
fn short(class: &str) -> &str {
    class.rsplit('.').next().unwrap_or(class)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_keeps_its_root_and_its_end() {
        let step = |kind, class: &str, name: &str| Step {
            kind,
            class: Some(class.into()),
            name: Some(name.into()).filter(|_| !name.is_empty()),
        };
        let path = [
            step(StepKind::Static, "shop.Archive", "OPEN"),
            step(StepKind::Field, "java.util.ArrayList", "elementData"),
            step(StepKind::Element, "java.lang.Object[]", ""),
            step(StepKind::Field, "shop.Receipt", "in\u{1b}[2J"),
        ];
        let whole = "static shop.Archive.OPEN -> ArrayList.elementData -> Object[] -> Receipt.in";
        assert!(in_one_line(&path, 200).starts_with(whole));
        assert!(!in_one_line(&path, 200).contains('\u{1b}'));
        assert_eq!(in_one_line(&path[..3], 53), "static shop.Archive.OPEN -> ... -> Object[]");
        assert_eq!(in_one_line(&path, 10), "static shop.Archive.OPEN -> ...");
        assert_eq!(in_one_line(&[], 10), "");
    }

    #[test]
    fn a_stack_may_hold_what_is_left_over() {
        let step = |kind| Step { kind, class: None, name: Some("main".into()) };
        let told = |state, kind| in_words(state, &[step(kind)], 80);
        assert_eq!(
            told(HolderState::Stack, StepKind::Stack),
            "stack of \"main\" (or a word left over there)"
        );
        assert_eq!(told(HolderState::Held, StepKind::Thread), "thread \"main\"");
    }

    #[test]
    fn fields_of_the_application_are_the_last_to_go() {
        let step =
            |kind, class: &str, name: &str| Step { kind, class: Some(class.into()), name: Some(name.into()) };
        let field = |class: &str, name: &str| step(StepKind::Field, class, name);
        let path = [
            step(StepKind::Thread, "java.lang.Thread", "http-worker-1"),
            field("java.lang.Thread", "target"),
            field("shop.Main$$Lambda", "arg$1"),
            field("shop.web.Controller", "receipts"),
            field("shop.Archive", "open"),
            field("java.util.concurrent.ConcurrentHashMap", "table"),
            field("java.util.zip.Inflater", "zsRef"),
        ];
        for (width, expected) in [
            (30, "thread \"http-worker-1\" -> ... -> Archive.open -> ..."),
            (60, "thread \"http-worker-1\" -> ... -> Archive.open -> ..."),
            (75, "thread \"http-worker-1\" -> ... -> Controller.receipts -> Archive.open -> ..."),
            (
                95,
                "thread \"http-worker-1\" -> ... -> Controller.receipts -> Archive.open -> ... -> Inflater.zsRef",
            ),
        ] {
            assert_eq!(in_one_line(&path, width), expected);
            assert!(expected.len() <= width.max(52));
        }
    }
}
