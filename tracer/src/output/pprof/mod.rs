//! pprof profiles: what `go tool pprof`, Pyroscope, Parca, Perfetto and speedscope read.
//!
//! Four values a sample, as Go's heap profiles have them, and labels by which viewers filter. Compressed, as their
//! readers expect it. A comparison is pprof's own: the base's samples with negative values and a label of pprof's.

mod about;
#[rustfmt::skip]
#[allow(missing_docs, unreachable_pub, clippy::all, reason = "generated")]
pub mod proto;

use std::io::{self, BufWriter, Write};

use flate2::Compression;
use flate2::write::GzEncoder;
use prost::Message;

use super::Options;
use super::dictionary::Dictionary;
use super::samples::{Key, Sampled, Side, TYPES, first_type, of_profile, of_side};
use crate::profile::diff::Diff;
use crate::profile::{Profile, Session, Target};

/// Bytes that are compressed at once.
const BUFFER_BYTES: usize = 64 << 10;
/// Label by which pprof knows samples of the base.
const OF_BASE: (&str, &str) = ("pprof::base", "true");

/// Writes a profile.
///
/// # Errors
/// Writing failed.
pub fn render(profile: &Profile, options: &Options, out: &mut dyn Write) -> io::Result<()> {
    let mut draft = Draft::new(&profile.target, Some(&profile.session), options, out);
    for sampled in of_profile(profile, options) {
        draft.add(&sampled, Side::New)?;
    }
    draft.say(about::of_profile(profile, options));
    draft.finish()
}

/// Writes a comparison.
///
/// # Errors
/// Writing failed.
pub fn render_diff(diff: &Diff, options: &Options, out: &mut dyn Write) -> io::Result<()> {
    let mut draft = Draft::new(&diff.new.target, diff.new.session.as_ref(), options, out);
    for side in [Side::New, Side::Base] {
        for sampled in of_side(diff, side, options) {
            draft.add(&sampled, side)?;
        }
    }
    draft.say(about::of_diff(diff, options));
    draft.finish()
}

/// A profile while it is written: samples at once, what they refer to at the end. Fields of a message may come in any
/// order, and one that is repeated in several pieces.
struct Draft<'a> {
    dictionary: Dictionary,
    /// Fields that are not repeated, and comments.
    head: proto::Profile,
    /// The samples of one stack, before they are compressed.
    piece: Vec<u8>,
    /// Pieces are small, and cost more to compress one by one.
    out: BufWriter<GzEncoder<&'a mut dyn Write>>,
}

impl<'a> Draft<'a> {
    fn new(target: &Target, session: Option<&Session>, options: &Options, out: &'a mut dyn Write) -> Self {
        let mut dictionary = Dictionary::new(target.command.first().unwrap_or(&target.comm));
        let mut value_type = |(of, unit): (&str, &str)| proto::ValueType {
            r#type: dictionary.string(of).into(),
            unit: dictionary.string(unit).into(),
        };
        let mut head = proto::Profile {
            sample_type: TYPES.map(&mut value_type).to_vec(),
            period_type: Some(value_type(("space", "bytes"))),
            period: 1,
            ..proto::Profile::default()
        };
        head.default_sample_type = dictionary.string(first_type(options.view)).into();
        if let Some(session) = session {
            head.time_nanos = signed(super::program::started_ns(session));
            head.duration_nanos = signed(session.duration_ns);
            head.period = signed(session.sample_bytes.unwrap_or(1).max(1));
        }
        let out = BufWriter::with_capacity(BUFFER_BYTES, GzEncoder::new(out, Compression::fast()));
        Self { dictionary, head, piece: Vec::new(), out }
    }

    /// Writes the samples of a stack.
    fn add(&mut self, sampled: &Sampled<'_>, side: Side) -> io::Result<()> {
        let location_id: Vec<u64> = self.dictionary.stack(sampled.stack).into_iter().map(u64::from).collect();
        let is_base = side == Side::Base;
        let sign = if is_base { -1 } else { 1 };
        let mut piece = proto::Profile::default();
        for sample in &sampled.samples {
            let mut label = |key: &str, value: &str| proto::Label {
                key: self.dictionary.string(key).into(),
                str: self.dictionary.string(value).into(),
            };
            let mut labels: Vec<_> =
                sample.labels.iter().map(|(key, value)| label(name(*key), value)).collect();
            labels.extend(is_base.then(|| label(OF_BASE.0, OF_BASE.1)));
            let value = sample.values.iter().map(|&value| sign * signed(value)).collect();
            piece.sample.push(proto::Sample { location_id: location_id.clone(), value, label: labels });
        }
        self.write(&piece)
    }

    fn say(&mut self, comments: Vec<String>) {
        self.head.comment = comments.iter().map(|comment| self.dictionary.string(comment).into()).collect();
    }

    /// Writes what the samples refer to.
    fn finish(mut self) -> io::Result<()> {
        let dictionary = std::mem::take(&mut self.dictionary);
        let mut head = std::mem::take(&mut self.head);
        head.mapping = dictionary
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
        self.write(&head)?;
        for (id, location) in dictionary.locations.rows().skip(1) {
            let line = |&(function, line): &(u32, u32)| proto::Line {
                function_id: function.into(),
                line: line.into(),
            };
            let location = proto::Location {
                id: id.into(),
                mapping_id: location.mapping.into(),
                address: location.address,
                line: location.lines.iter().map(line).collect(),
            };
            self.write(&proto::Profile { location: vec![location], ..proto::Profile::default() })?;
        }
        for (id, function) in dictionary.functions.rows().skip(1) {
            let function = proto::Function {
                id: id.into(),
                name: function.name.into(),
                system_name: function.system_name.into(),
                filename: function.file.into(),
            };
            self.write(&proto::Profile { function: vec![function], ..proto::Profile::default() })?;
        }
        for (_, string) in dictionary.strings.rows() {
            let string_table = vec![string.to_owned()];
            self.write(&proto::Profile { string_table, ..proto::Profile::default() })?;
        }
        self.out.into_inner().map_err(io::IntoInnerError::into_error)?.finish()?.flush()
    }

    /// Writes a piece of the profile.
    fn write(&mut self, piece: &proto::Profile) -> io::Result<()> {
        self.piece.clear();
        // A vector takes all that is written.
        let _ = piece.encode(&mut self.piece);
        self.out.write_all(&self.piece)
    }
}

fn name(key: Key) -> &'static str {
    match key {
        Key::Category => "category",
        Key::Kind => "kind",
        Key::Verdict => "verdict",
        Key::Source => "source",
        Key::Thread => "thread",
        Key::Holder => "kept_by",
    }
}

/// A number as the format has them.
fn signed(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

#[cfg(test)]
pub(super) mod tests;
