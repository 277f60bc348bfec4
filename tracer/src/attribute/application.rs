//! The application's own code, told from that of the libraries it uses by where its main class is.
//!
//! Takes the main class and the rules; says of a Java method whether it is the application's own. Where no main class is
//! known (`java -jar`, a launcher of a framework), nothing is.

use super::rules::{Rules, matches};

/// First two parts of a package that many projects share: a third one tells them apart.
const SHARED: [&str; 8] = [
    "com.github",
    "com.gitlab",
    "com.google",
    "io.github",
    "io.gitlab",
    "org.apache",
    "org.eclipse",
    "org.springframework",
];

/// Code that is the application's own.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Application {
    own: Option<Own>,
    /// `com.acme.Main.main`.
    entry: String,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Own {
    /// Everything below a package, with the dot: `com.acme.`.
    Below(String),
    /// Classes without a package.
    WithoutPackage,
}

impl Application {
    /// The application whose main class, module or jar is `main`, as a command line has it.
    pub fn of_main(main: Option<&str>, rules: &Rules) -> Self {
        // The class of `-m module/class`; a jar does not say its class.
        let class = main.and_then(|main| main.rsplit('/').next()).filter(|main| !main.ends_with(".jar"));
        let Some(class) = class.filter(|class| !class.is_empty()) else { return Self::default() };
        if matches(&rules.platform, class) || matches(&rules.bindings, class) {
            return Self::default();
        }
        let own = match class.rsplit_once('.') {
            None => Own::WithoutPackage,
            Some((package, _)) => {
                let is_below =
                    |shared: &str| package.strip_prefix(shared).is_some_and(|rest| rest.starts_with('.'));
                let parts = if SHARED.into_iter().any(is_below) { 3 } else { 2 };
                let parts: Vec<&str> = package.split('.').take(parts).collect();
                Own::Below(format!("{}.", parts.join(".")))
            }
        };
        Self { own: Some(own), entry: format!("{class}.main") }
    }

    /// Tells whether a method (`com.acme.Feed.open`) is the application's own. The main method is not: it calls all of
    /// a program that its first thread does, whoever wrote that.
    pub(super) fn owns(&self, method: &str) -> bool {
        let is_own = match &self.own {
            None => false,
            Some(Own::Below(package)) => method.starts_with(package.as_str()),
            Some(Own::WithoutPackage) => method.bytes().filter(|byte| *byte == b'.').count() == 1,
        };
        is_own && method != self.entry
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn own_code_is_near_the_main_class() {
        let rules = Rules::builtin();
        let owns = |main: &str, method: &str| Application::of_main(Some(main), &rules).owns(method);
        for (main, own, other) in [
            ("com.acme.shop.Main", "com.acme.feed.Feed.open", "org.apache.derby.impl.Loader.load"),
            ("acme.shop/com.acme.Shop", "com.acme.Shop$Item.<init>", "com.acmetools.Cache.get"),
            ("io.github.someone.app.Main", "io.github.someone.Feed.open", "io.github.another.Cache.get"),
            (
                "org.apache.kafka.Kafka",
                "org.apache.kafka.log.Log.append",
                "org.apache.commons.io.IOUtils.copy",
            ),
            ("Shop", "Feed.open", "org.h2.Driver.connect"),
        ] {
            assert!(owns(main, own) && !owns(main, other), "{main}");
        }
        // It is on every stack of the first thread.
        assert!(!owns("com.acme.Main", "com.acme.Main.main") && owns("com.acme.Main", "com.acme.Main.work"));
        for unknown in
            ["/srv/shop.jar", "", "sun.tools.jcmd.JCmd", "org.springframework.boot.loader.JarLauncher"]
        {
            assert_eq!(Application::of_main(Some(unknown), &rules), Application::default(), "{unknown}");
        }
        assert!(!Application::of_main(None, &rules).owns("com.acme.Feed.open"));
    }
}
