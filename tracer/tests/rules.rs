//! The built-in rules against real JDKs: a rule that names functions must find some of them in each version that it
//! claims, and none of its names may be in no version at all. Needs JDKs, no root.

mod common;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use common::fixture::fetched_java;
use object::{Object, ObjectSymbol};
use tracer::attribute::plain_name;

const RULES: &str = include_str!("../src/attribute/rules.toml");
/// Libraries of the JDK that rules name functions of, and what the JDK takes from the system.
const LIBRARIES: [&str; 8] = [
    "libjvm.so",
    "libjava.so",
    "libzip.so",
    "libnio.so",
    "libnet.so",
    "libinstrument.so",
    "libz.so.1",
    "libc.so.6",
];
/// The oldest and the newest that rules may claim, and all between that are tried.
const VERSIONS: [u32; 5] = [8, 11, 17, 21, 25];

/// Functions by library, of each home of a version.
type Symbols = BTreeMap<u32, Vec<BTreeSet<(String, String)>>>;

/// A rule's names of native functions: the function, and the libraries that it must be in (none: any).
struct Rule {
    id: String,
    versions: std::ops::RangeInclusive<u32>,
    names: Vec<(String, Vec<String>)>,
}

#[test]
fn every_rule_finds_its_functions_in_each_jdk_that_it_claims() {
    let symbols = symbols();
    let rules = rules();
    assert!(rules.len() > 20, "the rules are not read: {}", rules.len());
    let mut wrong = Vec::new();
    for rule in &rules {
        for (version, homes) in symbols.iter().filter(|(version, _)| rule.versions.contains(version)) {
            for home in homes {
                if !rule.names.iter().any(|name| is_in(name, home)) {
                    wrong.push(format!("{}: none of its functions is in JDK {version}", rule.id));
                }
            }
        }
        let claimed = || symbols.iter().filter(|(version, _)| rule.versions.contains(version));
        for name in &rule.names {
            if !claimed().flat_map(|(_, homes)| homes).any(|home| is_in(name, home)) {
                wrong.push(format!("{}: `{}` is in none of JDK {:?}", rule.id, name.0, rule.versions));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// The symbols that names are compared with are as they should be: names that are known to be there or not.
#[test]
fn symbols_are_read() {
    let symbols = symbols();
    let has = |version: u32, function: &str| {
        let name = (function.to_owned(), vec!["libjvm.so".to_owned()]);
        symbols.get(&version).is_some_and(|homes| homes.iter().all(|home| is_in(&name, home)))
    };
    if homes(8).iter().any(|home| home.starts_with(unpacked())) {
        assert!(symbols.contains_key(&8), "JDK 8 comes with its names");
    }
    for version in symbols.keys() {
        assert!(has(*version, "os::malloc"), "JDK {version}");
        assert!(!has(*version, "os::mallok"), "JDK {version}");
    }
    if symbols.contains_key(&25) && symbols.contains_key(&17) {
        // Gone in 25: a rule that named it alone would fail.
        assert!(has(17, "Chunk::operator new") && !has(25, "Chunk::operator new"));
    }
}

fn rules() -> Vec<Rule> {
    let rules: toml::Table = RULES.parse().expect("the rules are TOML");
    let strings = |value: Option<&toml::Value>| -> Vec<String> {
        let array = value.and_then(toml::Value::as_array).into_iter().flatten();
        array.filter_map(toml::Value::as_str).map(str::to_owned).collect()
    };
    let rule = |rule: &toml::Value| {
        let claimed = rule.get("jdk").and_then(toml::Value::as_str)?;
        let (from, to) = claimed.split_once('-').unwrap_or((claimed, claimed));
        let number = |text: &str| text.parse().unwrap_or_else(|_| panic!("`jdk` of {rule:?}"));
        let matchers = rule.get("any").and_then(toml::Value::as_array).into_iter().flatten();
        let native = matchers.filter(|matcher| matcher.get("frame").is_none());
        let names: Vec<_> = native
            .flat_map(|matcher| {
                let modules = strings(matcher.get("module"));
                strings(matcher.get("function")).into_iter().map(move |function| (function, modules.clone()))
            })
            .collect();
        let id = rule.get("id").and_then(toml::Value::as_str).unwrap_or_default().to_owned();
        (!names.is_empty()).then_some(Rule { id, versions: number(from)..=number(to), names })
    };
    let all = rules.get("rule").and_then(toml::Value::as_array).expect("there are rules");
    all.iter().filter_map(rule).collect()
}

fn is_in((function, modules): &(String, Vec<String>), home: &BTreeSet<(String, String)>) -> bool {
    home.iter().any(|(module, name)| {
        matches(function, name) && (modules.is_empty() || modules.iter().any(|it| matches(it, module)))
    })
}

/// Text in which `*` stands for any.
fn matches(pattern: &str, text: &str) -> bool {
    let mut parts = pattern.split('*');
    let first = parts.next().unwrap_or_default();
    let Some(mut rest) = text.strip_prefix(first) else { return false };
    let parts: Vec<&str> = parts.collect();
    let Some((last, middle)) = parts.split_last() else { return rest.is_empty() };
    for part in middle {
        let Some((_, after)) = rest.split_once(part) else { return false };
        rest = after;
    }
    rest.ends_with(last)
}

fn symbols() -> Symbols {
    let mut all = Symbols::new();
    for version in VERSIONS {
        let homes = homes(version);
        if homes.is_empty() {
            common::skip(&format!("needs JDK {version} (cargo xtask setup --tests)"));
        }
        for home in homes {
            match functions(&home) {
                Some(functions) => all.entry(version).or_default().push(functions),
                // It names nothing, so no rule holds on it, and a report says so.
                None => eprintln!("{} has no symbols: nothing to compare with", home.display()),
            }
        }
    }
    all
}

/// The folders with the JDKs of a version: those of the matrix, and what this machine has besides.
fn homes(version: u32) -> Vec<PathBuf> {
    let fetched = fetched_java(version).and_then(|java| Some(java.parent()?.parent()?.to_path_buf()));
    let unpacked = unpacked();
    let roots = [Path::new("/usr/lib/jvm"), &unpacked];
    let installed: Vec<_> =
        roots.into_iter().flat_map(|root| fs::read_dir(root).into_iter().flatten().flatten()).collect();
    let is_version = |path: &PathBuf| {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        !path.is_symlink()
            && name.split(['-', '.']).any(|part| part == version.to_string())
            && (path.join("lib/server/libjvm.so").exists() || path.join("jre/lib/amd64").exists())
    };
    fetched.into_iter().chain(installed.into_iter().map(|entry| entry.path()).filter(is_version)).collect()
}

/// Folder of JDK 8: unpacked, not installed.
fn unpacked() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/jdks/8/usr/lib/jvm")
}

/// The file with a library's names, where a distribution has them apart: found by the build id, below the root of the
/// JDK's own tree.
fn debug_file(elf: &object::File<'_>, home: &Path) -> Option<Vec<u8>> {
    let id = elf.build_id().ok().flatten()?;
    let (first, rest) = id.split_first()?;
    let rest: String = rest.iter().map(|byte| format!("{byte:02x}")).collect();
    // ROOT/usr/lib/jvm/NAME
    let root = home.ancestors().nth(4)?;
    fs::read(root.join(format!("usr/lib/debug/.build-id/{first:02x}/{rest}.debug"))).ok()
}

/// `None` if its libjvm is stripped.
fn functions(home: &Path) -> Option<BTreeSet<(String, String)>> {
    let folders =
        ["lib", "lib/server", "jre/lib/amd64", "jre/lib/amd64/server"].map(|folder| home.join(folder));
    let system = Path::new("/lib/x86_64-linux-gnu").to_path_buf();
    let mut all = BTreeSet::new();
    for library in LIBRARIES {
        let places = folders.iter().chain([&system]).map(|folder| folder.join(library));
        for file in places.filter(|file| file.exists()).take(1) {
            let bytes = fs::read(&file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
            let elf =
                object::File::parse(&*bytes).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
            let apart = debug_file(&elf, home);
            let names = apart.as_deref().and_then(|bytes| object::File::parse(bytes).ok());
            let names = names.as_ref().unwrap_or(&elf);
            if library == "libjvm.so" && names.symbols().next().is_none() {
                return None;
            }
            for symbol in names.symbols().chain(elf.dynamic_symbols()).filter(|symbol| symbol.is_definition())
            {
                let Ok(name) = symbol.name() else { continue };
                // `pthread_create@@GLIBC_2.34`.
                let name = name.split('@').next().unwrap_or(name);
                let demangled = cpp_demangle::Symbol::new(name).ok().and_then(|it| it.demangle().ok());
                let name = demangled.as_deref().unwrap_or(name);
                all.insert((library.to_owned(), plain_name(name).to_owned()));
            }
        }
    }
    assert!(all.len() > 1_000, "{}: symbols are missing", home.display());
    Some(all)
}
