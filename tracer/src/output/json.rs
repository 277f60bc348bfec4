//! The profile as JSON: schema `tracer.report/1`.

use std::io::{self, Write};

use serde_json::{Value, json};

use super::{Options, json_text};
use crate::process::Target;
use crate::profile::Profile;

/// The JVM of a process, as every output tells it; `None` if it has none.
pub(super) fn jvm(target: &Target) -> Option<Value> {
    target.jvm.as_ref().map(|jvm| {
        json!({
            "version": jvm.version,
            "vendor": jvm.vendor,
            "java_home": jvm.java_home,
            "libjvm": jvm.libjvm.path,
        })
    })
}

/// Writes a profile; with `options.top`, only so many of its sites.
///
/// # Errors
/// Writing failed.
pub fn render(profile: &Profile, options: &Options, out: &mut dyn Write) -> io::Result<()> {
    let shortened = options.top.filter(|&top| top < profile.sites.len()).map(|top| {
        let mut profile = profile.clone();
        profile.sites.truncate(top);
        profile
    });
    json_text::write(&mut *out, shortened.as_ref().unwrap_or(profile), true)?;
    out.write_all(b"\n")
}
