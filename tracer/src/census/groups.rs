//! Names that differ only in numbers, taken together: `pool-1-thread-7` is one of `pool-N-thread-N`.

use std::collections::BTreeMap;

use super::document::Group;

/// A name with its numbers taken out.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct NamePattern(String);

impl NamePattern {
    /// The pattern of `name`: each run of digits is `N`, hexadecimal numbers after `0x` or `@` too; but
    /// not where it ends a word that begins with a letter and is not the last (`C2 CompilerThread0`).
    pub fn of(name: &str) -> Self {
        let mut pattern = String::with_capacity(name.len());
        let mut rest = name.chars().peekable();
        while let Some(char) = rest.next() {
            let is_hex = char == '@' || char == 'x' && pattern.ends_with('0');
            if char.is_ascii_digit() && !(char == '0' && rest.peek() == Some(&'x')) {
                let mut digits = String::from(char);
                while let Some(digit) = rest.next_if(char::is_ascii_digit) {
                    digits.push(digit);
                }
                let of_word = pattern.ends_with(|before: char| before.is_ascii_alphabetic());
                if of_word && rest.peek() == Some(&' ') {
                    pattern.push_str(&digits);
                } else {
                    pattern.push('N');
                }
            } else {
                pattern.push(char);
                if is_hex && rest.peek().is_some_and(char::is_ascii_hexdigit) {
                    while rest.next_if(char::is_ascii_hexdigit).is_some() {}
                    pattern.push('N');
                }
            }
        }
        Self(pattern)
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Groups of names, the most numerous first.
pub fn of_names(names: &[String]) -> Vec<Group> {
    let mut groups: BTreeMap<NamePattern, (u64, &str)> = BTreeMap::new();
    for name in names {
        let (count, first) = groups.entry(NamePattern::of(name)).or_insert((0, name));
        *count += 1;
        // Equal names need no pattern.
        if *first != name {
            *first = "";
        }
    }
    let mut groups: Vec<Group> = groups
        .into_iter()
        .map(|(pattern, (count, name))| Group {
            name: if name.is_empty() { pattern.as_str().to_owned() } else { name.to_owned() },
            count,
        })
        .collect();
    groups.sort_by(|a, b| b.count.cmp(&a.count).then(a.name.cmp(&b.name)));
    groups
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_taken_out() {
        let pattern = |name: &str| NamePattern::of(name).as_str().to_owned();
        assert_eq!(pattern("pool-12-thread-7"), "pool-N-thread-N");
        assert_eq!(pattern("GC Thread#3"), "GC Thread#N");
        assert_eq!(pattern("C2 CompilerThread0"), "C2 CompilerThreadN");
        assert_eq!(pattern("Proxy@1a2b3c"), "Proxy@N");
        assert_eq!(pattern("at 0x7f00ab"), "at 0xN");
        assert_eq!(pattern("main"), "main");
        assert_eq!(pattern(""), "");
    }

    #[test]
    fn groups_by_count() {
        let names: Vec<String> =
            (0..150).map(|index| format!("parked-{index}")).chain(["main".into(), "C2-0".into()]).collect();
        let groups = of_names(&names);
        assert_eq!((groups[0].name.as_str(), groups[0].count), ("parked-N", 150));
        // One of a kind keeps its name.
        assert_eq!((groups[1].name.as_str(), groups[1].count), ("C2-0", 1));
    }
}
