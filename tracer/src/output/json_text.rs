//! JSON as it is written, for programs and for terminals: a character that would act on a terminal, or turn the direction
//! of writing, is an escape (`\u202e`), which means the same to every parser.

use std::borrow::Cow;
use std::io::{self, Write};

use serde::Serialize;
use serde_json::ser::{CompactFormatter, Formatter, PrettyFormatter, Serializer};

use super::clean;

/// Writes a value in one line, or indented.
///
/// # Errors
/// Writing failed.
pub fn write(out: impl Write, value: &(impl Serialize + ?Sized), pretty: bool) -> io::Result<()> {
    let written = match pretty {
        true => value.serialize(&mut Serializer::with_formatter(out, Escaping(PrettyFormatter::new()))),
        false => value.serialize(&mut Serializer::with_formatter(out, Escaping(CompactFormatter))),
    };
    written.map_err(io::Error::from)
}

/// Another formatter, whose strings are escaped further.
struct Escaping<F>(F);

/// Methods that the other formatter has.
macro_rules! as_the_other {
    ($($method:ident($($argument:ident: $of:ty),*);)*) => {
        $(fn $method<W: Write + ?Sized>(&mut self, out: &mut W $(, $argument: $of)*) -> io::Result<()> {
            self.0.$method(out $(, $argument)*)
        })*
    };
}

impl<F: Formatter> Formatter for Escaping<F> {
    as_the_other! {
        begin_array();
        end_array();
        begin_array_value(first: bool);
        end_array_value();
        begin_object();
        end_object();
        begin_object_key(first: bool);
        end_object_key();
        begin_object_value();
        end_object_value();
    }

    fn write_string_fragment<W: Write + ?Sized>(&mut self, out: &mut W, fragment: &str) -> io::Result<()> {
        if is_plain(fragment) {
            return out.write_all(fragment.as_bytes());
        }
        let mut utf8 = [0; 4];
        for char in fragment.chars() {
            let text: &str = char.encode_utf8(&mut utf8);
            if is_plain(text) {
                out.write_all(text.as_bytes())?;
                continue;
            }
            for unit in char.encode_utf16(&mut [0; 2]) {
                write!(out, "\\u{unit:04x}")?;
            }
        }
        Ok(())
    }
}

fn is_plain(text: &str) -> bool {
    matches!(clean(text), Cow::Borrowed(_))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_acts_is_an_escape_and_means_the_same() {
        let name = "a\u{1b}[31m\u{7f}\u{9b}\u{202e}\u{e0001}\"Größe\\\n漢";
        let value = serde_json::json!({ name: [1, name, null, 2.5, true], "empty": [[], {}] });
        for pretty in [false, true] {
            let mut bytes = Vec::new();
            write(&mut bytes, &value, pretty).expect("memory");
            let text = String::from_utf8(bytes).expect("UTF-8");
            assert!(text.contains(r#"a\u001b[31m\u007f\u009b\u202e\udb40\udc01\"Größe\\\n漢"#), "{text}");
            assert!(
                text.chars().all(|char| char == '\n' && pretty || is_plain(char.encode_utf8(&mut [0; 4])))
            );
            assert_eq!(serde_json::from_str::<serde_json::Value>(&text).expect("JSON"), value);
            let plain = serde_json::json!([{"a": [1, {}], "b": "ä"}, []]);
            let mut bytes = Vec::new();
            write(&mut bytes, &plain, pretty).expect("memory");
            let as_ever = if pretty { serde_json::to_vec_pretty(&plain) } else { serde_json::to_vec(&plain) };
            assert_eq!(bytes, as_ever.expect("JSON"));
        }
    }
}
