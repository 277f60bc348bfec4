//! HotSpot JVMs: whether a process is one, and which. By its libjvm and the `release` file of its runtime.
//!
//! Only files are read here; what the JVM's own structures say is `hotspot`'s.

use super::Pid;
use super::elf::{Symbol, SymbolTable};
use super::mapping::Mapping;
use super::module::Module;
use super::root;

/// A release file is a few hundred bytes to some KiB (the list of modules).
const MAX_RELEASE_BYTES: u64 = 64 << 10;
/// HotSpot's exported description of its own structures; no other program has it.
const MARKER: &[u8] = b"gHotSpotVMStructs";

/// A process's JVM.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JvmInfo {
    /// The module with HotSpot in it: libjvm.so, or an executable that it was linked into.
    pub libjvm: Module,
    /// The runtime's folder; a path as maps prints them.
    pub java_home: Option<String>,
    /// `17.0.15`, ...; from the release file.
    pub version: Option<String>,
    /// `Debian`, `Eclipse Adoptium`, ...; from the release file.
    pub vendor: Option<String>,
}

/// Can a process be a JVM? By the libraries that every runtime maps, also one whose libjvm has another name.
pub fn may_be(comm: &str, mappings: &[Mapping]) -> bool {
    const LIBRARIES: [&str; 3] = ["/libjvm.so", "/libjava.so", "/libjli.so"];
    let maps = |library: &str| mappings.iter().any(|mapping| mapping.path.contains(library));
    comm == "java" || LIBRARIES.into_iter().any(maps)
}

/// The JVM among the modules of process `pid`.
pub fn find(pid: Pid, modules: &[Module]) -> Option<JvmInfo> {
    // By name first: that needs no file to be read.
    let by_name = modules.iter().find(|module| module.name() == "libjvm.so");
    let libjvm = by_name.or_else(|| modules.iter().find(|module| describes_itself(module)))?;
    let homes = homes(&libjvm.path);
    let release = homes.iter().find_map(|home| {
        let text = root::read_text(pid, &format!("{home}/release"), MAX_RELEASE_BYTES).ok()?;
        Some((home.clone(), text))
    });
    let (java_home, text) = match release {
        Some((home, text)) => (Some(home), text),
        None => (homes.into_iter().next(), String::new()),
    };
    Some(JvmInfo {
        libjvm: libjvm.clone(),
        java_home,
        version: release_value(&text, "JAVA_RUNTIME_VERSION")
            .or_else(|| release_value(&text, "JAVA_VERSION")),
        vendor: release_value(&text, "IMPLEMENTOR"),
    })
}

/// Does the module export HotSpot's description of its structures?
fn describes_itself(module: &Module) -> bool {
    let symbols = module.elf().and_then(|elf| elf.symbols(SymbolTable::Dynamic));
    symbols.is_ok_and(|symbols| {
        symbols.iter().any(|symbol: Symbol<'_>| symbol.section != 0 && symbol.name == MARKER)
    })
}

/// Folders that can be the Java home of a libjvm at `path`, the likeliest first.
fn homes(path: &str) -> Vec<String> {
    let path = path.strip_suffix(" (deleted)").unwrap_or(path);
    // lib/server/libjvm.so; before 9: [jre/]lib/amd64/server/libjvm.so; or a static launcher in bin.
    let mut homes = Vec::new();
    for tail in ["/lib/amd64/", "/lib/", "/bin/"] {
        if let Some((home, below)) = path.rsplit_once(tail)
            && tail.matches('/').count() + below.matches('/').count() <= 4
        {
            homes.push(home.to_owned());
            homes.extend(home.strip_suffix("/jre").map(str::to_owned));
        }
    }
    homes.dedup();
    homes
}

/// The value of `KEY="value"` in a release file.
fn release_value(text: &str, key: &str) -> Option<String> {
    let value = text.lines().filter_map(|line| line.split_once('=')).find(|(name, _)| *name == key)?.1;
    let value: String =
        value.trim().trim_matches('"').chars().filter(|char| !char.is_control()).take(128).collect();
    (!value.is_empty()).then_some(value)
}

/// The program that a command line of `java` runs: the main class, module or jar. `None` if it cannot be told.
pub fn main_class(command: &[String]) -> Option<String> {
    // Other launchers (javac, gradle's, ...) have options of their own.
    if command.first().and_then(|program| program.rsplit('/').next()) != Some("java") {
        return None;
    }
    // Options whose value is the next argument (the `java` launcher's documentation).
    const WITH_VALUE: [&str; 12] = [
        "-cp",
        "-classpath",
        "--class-path",
        "-p",
        "--module-path",
        "--upgrade-module-path",
        "--add-modules",
        "--add-exports",
        "--add-opens",
        "--add-reads",
        "--patch-module",
        "--source",
    ];
    let mut arguments = command.iter().skip(1);
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "-jar" | "-m" | "--module" => return arguments.next().cloned(),
            option if WITH_VALUE.contains(&option) => {
                arguments.next();
            }
            option if option.starts_with("--module=") => return option.get(9..).map(str::to_owned),
            // An argument file may hold the class: it is not read.
            option if option.starts_with('@') => return None,
            option if option.starts_with('-') => {}
            main => return Some(main.to_owned()),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_home_for_every_layout() {
        assert_eq!(homes("/usr/lib/jvm/java-17/lib/server/libjvm.so")[0], "/usr/lib/jvm/java-17");
        assert_eq!(
            homes("/usr/lib/jvm/java-8/jre/lib/amd64/server/libjvm.so")[..2],
            ["/usr/lib/jvm/java-8/jre", "/usr/lib/jvm/java-8"]
        );
        assert_eq!(homes("/opt/j/lib/server/libjvm.so (deleted)"), ["/opt/j"]);
        assert_eq!(homes("/opt/j/bin/java"), ["/opt/j"]);
        assert!(homes("/usr/lib/a/b/c/d/e/libjvm.so").is_empty());
        assert!(homes("libjvm.so").is_empty());
    }

    #[test]
    fn release_values() {
        let text = "IMPLEMENTOR=\"Eclipse Adoptium\"\nJAVA_VERSION=\"25.0.1\"\nJAVA_RUNTIME_VERSION=\"25.0.1+8-LTS\"\nMODULES=\"a b\"\nX=\n";
        assert_eq!(release_value(text, "IMPLEMENTOR").as_deref(), Some("Eclipse Adoptium"));
        assert_eq!(release_value(text, "JAVA_RUNTIME_VERSION").as_deref(), Some("25.0.1+8-LTS"));
        assert_eq!(release_value(text, "X"), None);
        assert_eq!(release_value("K=\"\u{1b}[31mred\"", "K").as_deref(), Some("[31mred"));
    }

    #[test]
    fn what_a_command_line_runs() {
        let run = |line: &str| main_class(&line.split(' ').map(str::to_owned).collect::<Vec<_>>());
        assert_eq!(run("java -Xmx1g -cp /a:/b com.example.Main arg").as_deref(), Some("com.example.Main"));
        assert_eq!(run("java -XX:+UseZGC -jar /srv/app.jar --port 1").as_deref(), Some("/srv/app.jar"));
        assert_eq!(
            run("java --add-opens java.base/java.nio=ALL-UNNAMED -m app/main.Main").as_deref(),
            Some("app/main.Main")
        );
        assert_eq!(run("java --module=app/main.Main x").as_deref(), Some("app/main.Main"));
        assert_eq!(run("java @args Main"), None);
        assert_eq!(run("java -version"), None);
        assert_eq!(run("/opt/jdk/bin/java Main").as_deref(), Some("Main"));
        assert_eq!(run("javac -encoding UTF-8 A.java"), None);
        assert_eq!(main_class(&[]), None);
    }
}
