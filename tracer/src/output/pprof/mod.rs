//! pprof profiles: what `go tool pprof`, Pyroscope, Parca, Perfetto and speedscope read.
//!
//! Four values a sample, as Go's heap profiles have them, and labels by which viewers filter. Compressed, as their
//! readers expect it. A comparison is pprof's own: the base's samples with negative values and a label of pprof's.

mod about;
#[rustfmt::skip]
#[allow(missing_docs, unreachable_pub, clippy::all, reason = "generated")]
pub mod proto;

use std::io::{self, Write};

use flate2::Compression;
use flate2::write::GzEncoder;
use prost::Message;

use super::Options;
use super::dictionary::Dictionary;
use super::samples::{Key, Sample, TYPES, first_type, of_diff, of_profile};
use crate::profile::diff::Diff;
use crate::profile::{Profile, Session, Target};

/// What pprof knows samples of the base by.
const OF_BASE: (&str, &str) = ("pprof::base", "true");

/// Writes a profile.
///
/// # Errors
/// Writing failed.
pub fn render(profile: &Profile, options: &Options, out: &mut dyn Write) -> io::Result<()> {
    let mut draft = Draft::new(&profile.target, Some(&profile.session), options);
    for sample in of_profile(profile, options) {
        draft.add(&sample, false);
    }
    draft.say(about::of_profile(profile, options));
    draft.write(out)
}

/// Writes a comparison.
///
/// # Errors
/// Writing failed.
pub fn render_diff(diff: &Diff, options: &Options, out: &mut dyn Write) -> io::Result<()> {
    let mut draft = Draft::new(&diff.new.target, diff.new.session.as_ref(), options);
    let [base, new] = of_diff(diff, options);
    for (samples, is_base) in [(new, false), (base, true)] {
        for sample in &samples {
            draft.add(sample, is_base);
        }
    }
    draft.say(about::of_diff(diff, options));
    draft.write(out)
}

/// A profile while it is put together.
struct Draft {
    dictionary: Dictionary,
    profile: proto::Profile,
}

impl Draft {
    fn new(target: &Target, session: Option<&Session>, options: &Options) -> Self {
        let mut dictionary = Dictionary::new(target.command.first().unwrap_or(&target.comm));
        let mut value_type = |(of, unit): (&str, &str)| proto::ValueType {
            r#type: dictionary.string(of).into(),
            unit: dictionary.string(unit).into(),
        };
        let mut profile = proto::Profile {
            sample_type: TYPES.map(&mut value_type).to_vec(),
            period_type: Some(value_type(("space", "bytes"))),
            period: 1,
            ..proto::Profile::default()
        };
        profile.default_sample_type = dictionary.string(first_type(options.view)).into();
        if let Some(session) = session {
            profile.time_nanos = signed(super::program::started_ns(session));
            profile.duration_nanos = signed(session.duration_ns);
            profile.period = signed(session.sample_bytes.unwrap_or(1).max(1));
        }
        Self { dictionary, profile }
    }

    fn add(&mut self, sample: &Sample<'_>, is_base: bool) {
        let location_id = self.dictionary.stack(sample.stack).into_iter().map(u64::from).collect();
        let sign = if is_base { -1 } else { 1 };
        let mut label = |key: &str, value: &str| proto::Label {
            key: self.dictionary.string(key).into(),
            str: self.dictionary.string(value).into(),
        };
        let mut labels: Vec<_> = sample.labels.iter().map(|(key, value)| label(name(*key), value)).collect();
        labels.extend(is_base.then(|| label(OF_BASE.0, OF_BASE.1)));
        let value = sample.values.iter().map(|&value| sign * signed(value)).collect();
        self.profile.sample.push(proto::Sample { location_id, value, label: labels });
    }

    fn say(&mut self, comments: Vec<String>) {
        self.profile.comment =
            comments.iter().map(|comment| self.dictionary.string(comment).into()).collect();
    }

    fn write(self, out: &mut dyn Write) -> io::Result<()> {
        let Self { dictionary, mut profile } = self;
        profile.mapping = dictionary
            .mappings
            .rows()
            .skip(1)
            .map(|(id, mapping)| proto::Mapping {
                id: id.into(),
                memory_start: 0,
                memory_limit: dictionary.end(id),
                file_offset: 0,
                filename: mapping.file.into(),
                build_id: mapping.build_id.into(),
                has_functions: true,
                has_filenames: true,
                has_line_numbers: true,
                has_inline_frames: true,
            })
            .collect();
        let location = |(id, location): (u32, &super::dictionary::Location)| proto::Location {
            id: id.into(),
            mapping_id: location.mapping.into(),
            address: location.address,
            line: location
                .lines
                .iter()
                .map(|&(function, line)| proto::Line { function_id: function.into(), line: line.into() })
                .collect(),
        };
        profile.location = dictionary.locations.rows().skip(1).map(location).collect();
        let function = |(id, function): (u32, &super::dictionary::Function)| proto::Function {
            id: id.into(),
            name: function.name.into(),
            system_name: function.system_name.into(),
            filename: function.file.into(),
        };
        profile.function = dictionary.functions.rows().skip(1).map(function).collect();
        profile.string_table = dictionary.strings.rows().map(|(_, string)| string.to_owned()).collect();
        drop(dictionary);
        let bytes = profile.encode_to_vec();
        drop(profile);
        let mut compressed = GzEncoder::new(out, Compression::fast());
        compressed.write_all(&bytes)?;
        compressed.finish()?.flush()
    }
}

fn name(key: Key) -> &'static str {
    match key {
        Key::Category => "category",
        Key::Kind => "kind",
        Key::Verdict => "verdict",
        Key::Source => "source",
        Key::Thread => "thread",
    }
}

/// As the format has numbers.
fn signed(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

#[cfg(test)]
pub(super) mod tests;
