//! Names of classes as people read them, from the names that the JVM keeps.

/// Mark before the number that tells one lambda class of a class from another, in JDK 8 to 20.
const LAMBDA: &str = "$$Lambda$";

/// A class name with dots, without what differs from run to run: the address that hidden classes
/// carry (`Work$$Lambda+0x00007f0c` is `Work$$Lambda`, `LambdaForm$MH/0x7f` is `LambdaForm$MH`) and
/// the serial number of a lambda (`Work$$Lambda$14` is `Work$$Lambda`).
///
/// Takes the name with `/` or `.` between packages.
pub fn readable(name: &str) -> String {
    let mut name = name;
    // Hidden classes: '+' and the address; shown as '/' by the JVM's own tools, and for the
    // anonymous classes of older versions '/' and an address or hash.
    if let Some((head, tail)) = name.rsplit_once(['+', '/'])
        && is_serial(tail)
    {
        name = head;
    }
    if let Some((head, tail)) = name.rsplit_once(LAMBDA)
        && !tail.is_empty()
        && tail.bytes().all(|byte| byte.is_ascii_digit())
    {
        // Keeps the "$$Lambda".
        name = name.get(..head.len() + LAMBDA.len() - 1).unwrap_or(head);
    }
    name.replace('/', ".")
}

/// An address or a hash.
fn is_serial(text: &str) -> bool {
    match text.strip_prefix("0x") {
        Some(digits) => !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_hexdigit()),
        None => !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()),
    }
}

/// The text of HotSpot's symbols: modified UTF-8, in which 0 takes two bytes and characters beyond
/// the basic plane are two surrogates of three bytes. `None` if it is not well formed.
pub(super) fn from_modified_utf8(bytes: &[u8]) -> Option<String> {
    if bytes.is_ascii() {
        return (!bytes.contains(&0)).then(|| String::from_utf8_lossy(bytes).into_owned());
    }
    let mut units = Vec::with_capacity(bytes.len());
    let mut rest = bytes.iter().copied();
    let continuation = |byte: Option<u8>| match byte {
        Some(byte) if byte & 0xc0 == 0x80 => Some(u16::from(byte & 0x3f)),
        _ => None,
    };
    while let Some(first) = rest.next() {
        let unit = match first {
            0 => return None,
            0x01..=0x7f => u16::from(first),
            0xc0..=0xdf => u16::from(first & 0x1f) << 6 | continuation(rest.next())?,
            0xe0..=0xef => {
                let high = u16::from(first & 0x0f) << 12 | continuation(rest.next())? << 6;
                high | continuation(rest.next())?
            }
            _ => return None,
        };
        units.push(unit);
    }
    String::from_utf16(&units).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hidden_and_lambda_classes() {
        assert_eq!(readable("java/util/HashMap$Node"), "java.util.HashMap$Node");
        assert_eq!(readable("a/Work$$Lambda$4+0x0000000800c03000"), "a.Work$$Lambda");
        assert_eq!(readable("a/Work$$Lambda+0x00007f3a1c003000"), "a.Work$$Lambda");
        assert_eq!(readable("a.Work$$Lambda/0x00007f3a1c003000"), "a.Work$$Lambda");
        assert_eq!(readable("a.Work$$Lambda$14/1234567"), "a.Work$$Lambda");
        assert_eq!(readable("java/lang/invoke/LambdaForm$MH+0x7f00"), "java.lang.invoke.LambdaForm$MH");
        assert_eq!(readable("java/lang/invoke/LambdaForm$DMH"), "java.lang.invoke.LambdaForm$DMH");
    }

    #[test]
    fn what_only_looks_like_it_stays() {
        assert_eq!(readable("a/b/C$1"), "a.b.C$1");
        assert_eq!(readable("a+b/C"), "a+b.C");
        assert_eq!(readable("p/C$$Lambda$x"), "p.C$$Lambda$x");
        assert_eq!(readable(""), "");
    }

    #[test]
    fn modified_utf8() {
        assert_eq!(from_modified_utf8(b"run").as_deref(), Some("run"));
        assert_eq!(from_modified_utf8("größe".as_bytes()).as_deref(), Some("größe"));
        // U+1F600 as two surrogates, and a NUL in two bytes.
        assert_eq!(from_modified_utf8(&[0xed, 0xa0, 0xbd, 0xed, 0xb8, 0x80]).as_deref(), Some("\u{1f600}"));
        assert_eq!(from_modified_utf8(&[0xc0, 0x80]).as_deref(), Some("\0"));
        for bad in [
            &[0x80][..],
            &[0xc3],
            &[0xf0, 0x9f, 0x98, 0x80],
            &[0xed, 0xa0, 0xbd],
            &[b'a', 0],
            &[0xe2, 0x28, 0xa1],
        ] {
            assert_eq!(from_modified_utf8(bad), None, "{bad:x?}");
        }
    }
}
