//! Paths from a root to an owner, as text.

use unicode_width::UnicodeWidthStr;

use crate::holders::State;
use crate::hotspot::heap::{Step, StepKind};
use crate::output::clean;

const ARROW: &str = " -> ";
const LEFT_OUT: &str = "...";

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

/// A path in at most so many columns: its root, and as much of its end as there is room for. The root is never cut.
pub(in crate::output) fn in_one_line(path: &[Step], width: usize) -> String {
    let steps: Vec<String> = path.iter().map(describe_step).collect();
    let whole = steps.join(ARROW);
    if whole.width() <= width {
        return whole;
    }
    let Some((root, rest)) = steps.split_first() else { return whole };
    let mut used = root.width() + ARROW.len() + LEFT_OUT.len();
    let mut end: Vec<&str> = Vec::new();
    for step in rest.iter().rev() {
        used += ARROW.len() + step.width();
        if used > width {
            break;
        }
        end.push(step);
    }
    let end: Vec<&str> = [root.as_str(), LEFT_OUT].into_iter().chain(end.into_iter().rev()).collect();
    end.join(ARROW)
}

/// Holder of something, as a label has it: without a verb around it.
pub(in crate::output) fn in_words(state: State, path: &[Step], width: usize) -> String {
    match state {
        State::Held | State::Stack => in_one_line(path, width),
        State::Soft => format!("softly: {}", in_one_line(path, width)),
        State::Collectable => "a cleaner or finalizer alone".to_owned(),
        State::Lost => "nobody: lost".to_owned(),
        State::Unseen => "no holder seen".to_owned(),
        State::None => "no Java object".to_owned(),
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
}
