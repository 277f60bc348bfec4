//! Names as they come from foreign files, made fit to be shown and kept.

/// Length at which names are cut.
const MAX_NAME_BYTES: usize = 4096;

/// `name` without control characters (a terminal would obey them), and cut.
pub(super) fn clean(name: &str) -> String {
    let cut = name.floor_char_boundary(MAX_NAME_BYTES);
    let mut clean: String = name
        .get(..cut)
        .unwrap_or_default()
        .chars()
        .map(|character| if character.is_control() { char::REPLACEMENT_CHARACTER } else { character })
        .collect();
    if cut < name.len() {
        clean.push('…');
    }
    clean
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_characters_and_length() {
        assert_eq!(clean("a\nb\u{1b}[2Jc"), "a\u{fffd}b\u{fffd}[2Jc");
        let long = clean(&"é".repeat(5000));
        assert!(long.len() <= MAX_NAME_BYTES + 3 && long.ends_with('…'));
    }
}
