//! The code cache: how full each heap is, what the session added, and which generated classes have code.

use std::io::{self, Write};

use super::{Style, clean, table, units};
use crate::profile::Profile;

/// Groups of generated classes that are shown.
const GENERATED: usize = 3;
/// Code of generated classes below this is not worth a line.
const MIN_GENERATED_BYTES: u64 = 256 << 10;

pub(super) fn code_cache(profile: &Profile, style: Style, out: &mut dyn Write) -> io::Result<()> {
    let code = &profile.code_cache;
    let Some((used, reserved)) = code.used_bytes.zip(code.reserved_bytes) else { return Ok(()) };
    writeln!(out)?;
    table::write_title("Code cache", style, out)?;
    let committed = code.committed_bytes.map(|bytes| format!(", {} committed", units::bytes(bytes)));
    writeln!(
        out,
        "  {} used of {} reserved{}, {}",
        units::bytes(used),
        units::bytes(reserved),
        committed.unwrap_or_default(),
        units::counted(code.methods.len() as u64, "compiled method")
    )?;
    if let (Some(installed), Some(installed_count), Some(dropped), Some(dropped_count)) =
        (code.installed_bytes, code.installed_count, code.dropped_bytes, code.dropped_count)
    {
        writeln!(
            out,
            "  in the session {} in {} installed, {} in {} of them dropped again",
            units::bytes(installed),
            units::counted(installed_count, "method"),
            units::bytes(dropped),
            units::count(dropped_count)
        )?;
    }
    let worth = code.generated.iter().filter(|row| row.bytes >= MIN_GENERATED_BYTES);
    for row in worth.take(GENERATED) {
        let methods = units::counted(row.count, "method");
        let owner = row.owner.as_ref().map(|owner| {
            let share = owner.share * 100.0;
            format!(
                ", defined for {} ({share:.0} % of what defining such classes allocated)",
                clean(&owner.function)
            )
        });
        writeln!(
            out,
            "  {} in {methods} of generated classes {}{}",
            units::bytes(row.bytes),
            clean(&row.pattern),
            owner.unwrap_or_default()
        )?;
    }
    Ok(())
}
