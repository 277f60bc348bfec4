//! Values of flags that are one of few: the names of the stages' own types on a command line, each with a sentence.

use clap::ValueEnum;
use clap::builder::PossibleValue;

use crate::output::View;
use crate::probe::probes::ProbeSet;
use crate::profile::Sort;
use crate::push::Protocol;
use crate::recorder::Memo;

impl ValueEnum for View {
    fn value_variants<'a>() -> &'a [Self] {
        &[View::Live, View::Leaks, View::Allocated, View::Temporary, View::Peak]
    }

    fn to_possible_value(&self) -> Option<PossibleValue> {
        let help = match self {
            View::Live => "Allocated in the session and not freed",
            View::Leaks => {
                "Live where the verdict is leak or gc-pending (in a short session: all that is live)"
            }
            View::Allocated => "All that was allocated in the session",
            View::Temporary => "Allocated and freed again in the session",
            View::Peak => "Live when most was, of the moments that the recording keeps",
        };
        Some(PossibleValue::new(self.as_str()).help(help))
    }
}

impl ValueEnum for Sort {
    fn value_variants<'a>() -> &'a [Self] {
        &[Sort::Bytes, Sort::Count, Sort::Allocated, Sort::Growth]
    }

    fn to_possible_value(&self) -> Option<PossibleValue> {
        Some(match self {
            Sort::Bytes => PossibleValue::new("bytes").help("Bytes in the view"),
            Sort::Count => PossibleValue::new("count").help("Allocations in the view"),
            Sort::Allocated => PossibleValue::new("allocated").help("All bytes allocated"),
            Sort::Growth => PossibleValue::new("growth").help("Growth of what is not freed"),
        })
    }
}

impl ValueEnum for Protocol {
    fn value_variants<'a>() -> &'a [Self] {
        &[Protocol::Otlp, Protocol::Pyroscope]
    }

    fn to_possible_value(&self) -> Option<PossibleValue> {
        Some(match self {
            Protocol::Otlp => PossibleValue::new("otlp").help("OTLP over HTTP, profiles v1development"),
            Protocol::Pyroscope => {
                PossibleValue::new("pyroscope").help("Pyroscope's /ingest, with a pprof profile")
            }
        })
    }
}

impl ValueEnum for ProbeSet {
    fn value_variants<'a>() -> &'a [Self] {
        &[ProbeSet::Full, ProbeSet::Light]
    }

    fn to_possible_value(&self) -> Option<PossibleValue> {
        Some(match self {
            ProbeSet::Full => {
                PossibleValue::new("full").help("Every allocator call, mapping, thread and collection")
            }
            ProbeSet::Light => PossibleValue::new("light").help(
                "No call of malloc, and so no cost for them: zlib's streams and the JDK's own native memory (direct \
                 buffers) by their own calls, mappings, threads, collections and compiled code",
            ),
        })
    }
}

impl ValueEnum for Memo {
    fn value_variants<'a>() -> &'a [Self] {
        &[Memo::Off, Memo::On, Memo::Checked]
    }

    fn to_possible_value(&self) -> Option<PossibleValue> {
        Some(PossibleValue::new(match self {
            Memo::Off => "off",
            Memo::On => "on",
            Memo::Checked => "checked",
        }))
    }
}
