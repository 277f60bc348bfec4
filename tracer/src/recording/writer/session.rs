//! Writes what is known of the session: its start, its JVM, what was lost, what the reader must be told.

use rusqlite::params;

use super::Writer;
use crate::recording::database::{meta, signed};
use crate::recording::{BudgetStep, JvmInfo, Overhead, Quality, WriteError};

impl Writer {
    /// Every probe is attached: the session starts now (RFC 3339, and `CLOCK_MONOTONIC`), not when the
    /// file was created.
    pub fn started(&mut self, time: &str, time_ns: u64) -> Result<(), WriteError> {
        self.write(|_, database| {
            database.execute(
                "UPDATE meta SET value = json_set(value, '$.started', ?1, '$.started_ns', ?2)
                 WHERE key = 'session'",
                params![time, signed(Some(time_ns))],
            )?;
            meta(database, "started", time)?;
            meta(database, "started_ns", &time_ns.to_string())
        })
    }

    /// Facts that are known of the JVM by now.
    pub fn jvm(&mut self, jvm: &JvmInfo) -> Result<(), WriteError> {
        let Ok(text) = serde_json::to_string(jvm) else { return Ok(()) };
        self.write(|_, database| {
            database
                .prepare_cached(
                    "UPDATE meta SET value = json_set(value, '$.jvm', json(?1)) WHERE key = 'target'",
                )?
                .execute(params![text])?;
            Ok(())
        })
    }

    /// Steps that were taken so far to keep within the budget, and the interval of sampling by now.
    pub fn steps(&mut self, steps: &[BudgetStep], sample_bytes: Option<u64>) -> Result<(), WriteError> {
        let Ok(text) = serde_json::to_string(steps) else { return Ok(()) };
        self.write(|_, database| {
            database.execute(
                "UPDATE meta SET value = json_set(value, '$.steps', json(?1), '$.sample_bytes', ?2)
                 WHERE key = 'session'",
                params![text, signed(sample_bytes)],
            )?;
            Ok(())
        })
    }

    /// Cost of recording so far.
    pub fn overhead(&mut self, overhead: Overhead) -> Result<(), WriteError> {
        let Ok(text) = serde_json::to_string(&overhead) else { return Ok(()) };
        self.write(|_, database| {
            database
                .prepare_cached(
                    "UPDATE meta SET value = json_set(value, '$.overhead', json(?1)) WHERE key = 'session'",
                )?
                .execute(params![text])?;
            Ok(())
        })
    }

    /// Collections are seen from now on.
    pub fn gc_probes(&mut self) -> Result<(), WriteError> {
        self.write(|_, database| {
            database.execute(
                "UPDATE meta SET value = json_set(value, '$.gc_probes', json('true')) WHERE key = 'session'",
                [],
            )?;
            Ok(())
        })
    }

    /// Losses so far, by reason; each count replaces the one before.
    pub fn lost(&mut self, lost: &[(&str, u64)]) -> Result<(), WriteError> {
        self.write(|_, database| {
            let mut insert = database.prepare_cached("INSERT OR REPLACE INTO lost VALUES (?1, ?2)")?;
            for (reason, count) in lost {
                insert.execute(params![reason, signed(Some(*count))])?;
            }
            Ok(())
        })
    }

    /// Writes the quality of the numbers, beside what was lost. Replaces what was given before.
    pub fn quality(&mut self, quality: &Quality) -> Result<(), WriteError> {
        let Ok(text) = serde_json::to_string(quality) else { return Ok(()) };
        self.write(|_, database| meta(database, "trust", &text))
    }

    /// A sentence for the person who reads the report. The same one is kept once.
    pub fn note(&mut self, text: &str) -> Result<(), WriteError> {
        self.write(|_, database| {
            database
                .prepare_cached("INSERT OR IGNORE INTO note (text) VALUES (?1)")?
                .execute(params![text])?;
            Ok(())
        })
    }
}
