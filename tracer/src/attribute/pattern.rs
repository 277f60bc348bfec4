//! Patterns of rules: text in which `*` stands for any text. Time is bounded by the length of the
//! pattern times that of the name.

/// A compiled pattern.
#[derive(Clone, Debug)]
pub(super) struct Pattern {
    first: String,
    /// Text that follows each `*`; none: the name must be `first`.
    rest: Vec<String>,
}

impl Pattern {
    pub(super) fn new(text: &str) -> Pattern {
        let mut parts = text.split('*').map(str::to_owned);
        Pattern { first: parts.next().unwrap_or_default(), rest: parts.collect() }
    }

    pub(super) fn matches(&self, name: &str) -> bool {
        let Some(mut tail) = name.strip_prefix(self.first.as_str()) else { return false };
        let Some((last, middle)) = self.rest.split_last() else { return tail.is_empty() };
        for part in middle {
            // The leftmost place leaves most for what follows.
            let Some((_, after)) = tail.split_once(part.as_str()) else { return false };
            tail = after;
        }
        tail.ends_with(last.as_str())
    }
}

/// A native function's name without parameters and return type, as rules compare it:
/// `void Foo<int>::bar(int) const` is `Foo<int>::bar`.
pub fn plain_name(function: &str) -> &str {
    if function.starts_with('[') {
        return function;
    }
    // "{virtual override thunk({offset(-8)}, Foo::bar(int))}" is how some demanglers write it.
    if let Some((_, inner)) = function.strip_prefix('{').and_then(|rest| rest.split_once("thunk(")) {
        return plain_name(inner.rsplit_once("}, ").map_or(inner, |(_, target)| target));
    }
    let bytes = function.as_bytes();
    let mut angles = 0_usize;
    let mut start = 0;
    let mut at = 0;
    while let Some(&byte) = bytes.get(at) {
        let rest = function.get(at..).unwrap_or_default();
        if rest.starts_with("operator") && is_word_start(bytes, at) {
            // Its symbol may hold brackets and a space: they are the name.
            at += "operator".len();
            let symbol = function.get(at..).unwrap_or_default();
            at += symbol
                .strip_prefix("()")
                .map_or_else(|| symbol.find('(').unwrap_or(symbol.len()).min(operator_length(symbol)), |_| 2);
            continue;
        }
        match byte {
            b'<' => angles += 1,
            b'>' => angles = angles.saturating_sub(1),
            b'(' if angles == 0 => {
                if rest.starts_with("(anonymous namespace)") {
                    at += "(anonymous namespace)".len();
                    continue;
                }
                return function.get(start..at).filter(|name| !name.is_empty()).unwrap_or(function);
            }
            b' ' if angles == 0 => start = at + 1,
            b'[' if start == at => {
                // "name [clone .cold]": what follows is no name.
                return function.get(..at).map_or(function, str::trim_end);
            }
            _ => {}
        }
        at += 1;
    }
    function.get(start..).filter(|name| !name.is_empty()).unwrap_or(function)
}

fn is_word_start(bytes: &[u8], at: usize) -> bool {
    at.checked_sub(1)
        .and_then(|before| bytes.get(before))
        .is_none_or(|byte| !byte.is_ascii_alphanumeric() && *byte != b'_')
}

/// Bytes of ` new`, `<<`, ` delete[]`, ... after `operator`.
fn operator_length(symbol: &str) -> usize {
    let word = symbol.strip_prefix(' ').map(|word| {
        1 + word
            .find(|char: char| !char.is_alphanumeric() && char != '[' && char != ']')
            .unwrap_or(word.len())
    });
    word.unwrap_or_else(|| {
        symbol.find(|char: char| !"<>=!+-*/%^&|~,[]".contains(char)).unwrap_or(symbol.len())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stars_stand_for_any_text() {
        for (pattern, name, expected) in [
            ("inflate", "inflate", true),
            ("inflate", "inflateInit", false),
            ("inflate*", "inflateInit2_", true),
            ("*_map0", "Java_sun_nio_ch_FileChannelImpl_map0", true),
            ("a*b*c", "a-b-b-c", true),
            ("a*b*c", "acb", false),
            ("a*a", "a", false),
            ("*", "", true),
            ("**", "x", true),
            ("", "", true),
            ("", "x", false),
        ] {
            assert_eq!(Pattern::new(pattern).matches(name), expected, "{pattern} {name}");
        }
    }

    #[test]
    fn plain_names_have_no_parameters() {
        for (function, plain) in [
            ("malloc", "malloc"),
            ("os::malloc(unsigned long, MEMFLAGS, NativeCallStack const&)", "os::malloc"),
            ("(anonymous namespace)::pool::allocate(unsigned long)", "(anonymous namespace)::pool::allocate"),
            ("operator new(unsigned long)", "operator new"),
            ("operator delete[](void*)", "operator delete[]"),
            ("Chunk::operator new(unsigned long, int)", "Chunk::operator new"),
            ("std::ostream::operator<<(int)", "std::ostream::operator<<"),
            ("std::function<void (int)>::operator()(int) const", "std::function<void (int)>::operator()"),
            ("void G1Foo::work<int>(G1Bar<(E)1>*)", "G1Foo::work<int>"),
            ("unsigned long Foo::bar<A<B> >(int)", "Foo::bar<A<B> >"),
            ("my_operator(int)", "my_operator"),
            ("{virtual override thunk({offset(-8)}, Foo::bar(Block*))}", "Foo::bar"),
            ("non-virtual thunk to Foo::bar(int)", "Foo::bar"),
            ("os::malloc [clone .cold]", "os::malloc"),
            ("[unknown: no symbol]", "[unknown: no symbol]"),
            ("(", "("),
            ("", ""),
        ] {
            assert_eq!(plain_name(function), plain, "{function}");
        }
    }

    proptest::proptest! {
        #[test]
        fn any_name_has_a_plain_one(function in "[ -~é<>()]{0,60}|operator[ -~]{0,20}") {
            proptest::prop_assert!(function.contains(plain_name(&function)));
        }
    }
}
