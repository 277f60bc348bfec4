//! Commands to copy: words quoted as a shell takes them, in lines that are never broken.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;

use super::clean;

/// A word as a shell takes it for one word; a name that begins like an option begins with `./`.
///
/// Bytes that must not reach a terminal are written as escapes, which bash, zsh and ksh read.
pub(super) fn word(word: &OsStr) -> String {
    let dot = if word.as_bytes().starts_with(b"-") { "./" } else { "" };
    let is_plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"/._-+:,@%=".contains(byte);
    if !word.is_empty() && word.as_bytes().iter().all(is_plain) {
        return format!("{dot}{}", word.to_string_lossy());
    }
    match word.to_str().filter(|text| clean(text) == *text) {
        Some(text) => format!("'{dot}{}'", text.replace('\'', "'\\''")),
        None => {
            let escaped = |byte: &u8| match byte {
                b'\'' | b'\\' => format!("\\{}", char::from(*byte)),
                b' '..=b'~' => char::from(*byte).to_string(),
                _ => format!("\\x{byte:02x}"),
            };
            format!("$'{dot}{}'", word.as_bytes().iter().map(escaped).collect::<String>())
        }
    }
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    #[test]
    fn a_shell_reads_back_every_word() {
        let words: [&[u8]; 8] = [
            b"/tmp/a.trec",
            b"/tmp/a b.trec",
            b"it's",
            b"-v",
            b"$HOME`id`\"*\"",
            b"a\x1b]0;x\x07b\\'c",
            b"\xff\xfe",
            "\u{202e}漢字".as_bytes(),
        ];
        for bytes in words {
            let text = word(OsStr::from_bytes(bytes));
            assert_eq!(clean(&text), text, "it acts on no terminal");
            let read =
                Command::new("bash").args(["-c", &format!("printf %s {text}")]).output().expect("bash");
            let read = read.stdout.strip_prefix(b"./").unwrap_or(&read.stdout);
            assert_eq!(read, bytes, "{text}");
        }
    }
}
