//! OTLP profiles (`v1development`): what an OpenTelemetry Collector and the stores behind it take.
//!
//! Four profiles, one for each value of a sample, that share one dictionary. The bytes of a file and those of a
//! request's body are the same.

#[rustfmt::skip]
#[allow(missing_docs, unreachable_pub, clippy::all, reason = "generated")]
pub mod proto;
mod resource;

use std::collections::HashMap;
use std::io::{self, Write};

use prost::Message;

use super::Options;
use super::dictionary::{Dictionary, Function, Location};
use super::samples::{Key, TYPES, first_type, of_profile};
use crate::profile::Profile;
use crate::symbolize::FrameKind;

/// Writes a profile.
///
/// # Errors
/// Writing failed.
pub fn render(profile: &Profile, options: &Options, out: &mut dyn Write) -> io::Result<()> {
    out.write_all(&encode(profile, options, None))
}

/// The bytes of a profile. `service`: the name that stores know it by; `None` means the program's.
pub fn encode(profile: &Profile, options: &Options, service: Option<&str>) -> Vec<u8> {
    let mut draft = Draft::new(profile);
    let mut profiles = draft.profiles(profile, options);
    // Viewers show the first.
    let first = TYPES.iter().position(|(of, _)| *of == first_type(options.view));
    profiles.rotate_left(first.unwrap_or(0));
    let scope = proto::InstrumentationScope {
        name: env!("CARGO_PKG_NAME").to_owned(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
    };
    let resource = proto::ResourceProfiles {
        resource: Some(proto::Resource { attributes: resource::attributes(profile, service) }),
        scope_profiles: vec![proto::ScopeProfiles { scope: Some(scope), profiles }],
    };
    proto::ProfilesData { resource_profiles: vec![resource], dictionary: Some(draft.finish()) }
        .encode_to_vec()
}

/// The dictionary while it is put together.
struct Draft {
    dictionary: Dictionary,
    /// Key and value, by index of a string.
    attributes: Rows<(u32, u32)>,
    stacks: Rows<Vec<u32>>,
}

impl Draft {
    fn new(profile: &Profile) -> Self {
        let target = &profile.target;
        let dictionary = Dictionary::new(target.command.first().unwrap_or(&target.comm));
        Self { dictionary, attributes: Rows::default(), stacks: Rows::default() }
    }

    /// A profile for each type of value.
    fn profiles(&mut self, profile: &Profile, options: &Options) -> Vec<proto::Profile> {
        let session = &profile.session;
        let mut profiles: Vec<proto::Profile> = TYPES
            .iter()
            .map(|(of, unit)| proto::Profile {
                sample_type: Some(self.value_type(of, unit)),
                samples: Vec::new(),
                time_unix_nano: super::program::started_ns(session),
                duration_nano: session.duration_ns,
                period_type: Some(self.value_type("space", "bytes")),
                period: signed(session.sample_bytes.unwrap_or(1).max(1)),
                attribute_indices: Vec::new(),
            })
            .collect();
        for sampled in of_profile(profile, options) {
            let stack = self.dictionary.stack(sampled.stack);
            let stack_index = self.stacks.add(stack);
            for sample in &sampled.samples {
                let attribute_indices: Vec<i32> =
                    sample.labels.iter().map(|(key, value)| self.attribute(name(*key), value)).collect();
                for (profile, &value) in profiles.iter_mut().zip(&sample.values) {
                    if value > 0 {
                        let attribute_indices = attribute_indices.clone();
                        let values = vec![signed(value)];
                        profile.samples.push(proto::Sample { stack_index, attribute_indices, values });
                    }
                }
            }
        }
        profiles
    }

    fn value_type(&mut self, of: &str, unit: &str) -> proto::ValueType {
        proto::ValueType {
            type_strindex: index(self.dictionary.string(of)),
            unit_strindex: index(self.dictionary.string(unit)),
        }
    }

    fn attribute(&mut self, key: &str, value: &str) -> i32 {
        let row = (self.dictionary.string(key), self.dictionary.string(value));
        self.attributes.add(row)
    }

    fn finish(mut self) -> proto::ProfilesDictionary {
        let locations: Vec<_> = {
            let rows: Vec<Location> = self.dictionary.locations.rows().map(|(_, row)| row.clone()).collect();
            rows.into_iter().map(|row| self.location(&row)).collect()
        };
        let mapping_table = self.mappings();
        let function = |(_, row): (u32, &Function)| proto::Function {
            name_strindex: index(row.name),
            system_name_strindex: index(row.system_name),
            filename_strindex: index(row.file),
        };
        let function_table = self.dictionary.functions.rows().map(function).collect();
        let strings: Vec<String> =
            self.dictionary.strings.rows().map(|(_, string)| string.to_owned()).collect();
        let attribute = |(key, value): &(u32, u32)| {
            let text = usize::try_from(*value).ok().and_then(|value| strings.get(value)).cloned();
            proto::KeyValueAndUnit {
                key_strindex: index(*key),
                value: text.filter(|_| *key != 0).map(resource::text),
                unit_strindex: 0,
            }
        };
        let attribute_table = self.attributes.rows.iter().map(attribute).collect();
        let stack = |stack: &Vec<u32>| proto::Stack {
            location_indices: stack.iter().map(|&location| index(location)).collect(),
        };
        proto::ProfilesDictionary {
            mapping_table,
            location_table: locations,
            function_table,
            link_table: vec![proto::Link::default()],
            stack_table: self.stacks.rows.iter().map(stack).collect(),
            attribute_table,
            string_table: strings,
        }
    }

    fn location(&mut self, location: &Location) -> proto::Location {
        let kind = location.kind.map(|kind| match kind {
            FrameKind::Java | FrameKind::Stub => "jvm",
            FrameKind::Native => "native",
            FrameKind::Kernel => "kernel",
        });
        proto::Location {
            mapping_index: index(location.mapping),
            address: location.address,
            lines: location
                .lines
                .iter()
                .map(|&(function, line)| proto::Line { function_index: index(function), line: line.into() })
                .collect(),
            attribute_indices: kind
                .map(|kind| self.attribute("profile.frame.type", kind))
                .into_iter()
                .collect(),
        }
    }

    fn mappings(&mut self) -> Vec<proto::Mapping> {
        let rows: Vec<_> = self.dictionary.mappings.rows().map(|(id, row)| (id, *row)).collect();
        let strings: HashMap<u32, String> = {
            let wanted = |id: &u32| rows.iter().any(|(_, row)| row.build_id == *id);
            let strings = self.dictionary.strings.rows().filter(|(id, _)| wanted(id));
            strings.map(|(id, text)| (id, text.to_owned())).collect()
        };
        let mapping = |(id, row): (u32, super::dictionary::Mapping)| {
            let build_id = strings.get(&row.build_id).filter(|_| row.build_id != 0);
            proto::Mapping {
                memory_start: 0,
                memory_limit: self.dictionary.end(id),
                file_offset: 0,
                filename_strindex: index(row.file),
                attribute_indices: build_id
                    .map(|id| self.attribute("process.executable.build_id.gnu", id))
                    .into_iter()
                    .collect(),
            }
        };
        rows.into_iter().map(mapping).collect()
    }
}

/// Rows, each once; the first is empty.
struct Rows<T> {
    rows: Vec<T>,
    places: HashMap<T, i32>,
}

impl<T: Default + Clone + Eq + std::hash::Hash> Default for Rows<T> {
    fn default() -> Self {
        Self { rows: vec![T::default()], places: HashMap::from([(T::default(), 0)]) }
    }
}

impl<T: Default + Clone + Eq + std::hash::Hash> Rows<T> {
    fn add(&mut self, row: T) -> i32 {
        if let Some(place) = self.places.get(&row) {
            return *place;
        }
        let place = i32::try_from(self.rows.len()).unwrap_or(0);
        self.rows.push(row.clone());
        self.places.insert(row, place);
        place
    }
}

fn name(key: Key) -> &'static str {
    match key {
        Key::Category => "tracer.category",
        Key::Kind => "tracer.kind",
        Key::Verdict => "tracer.verdict",
        Key::Source => "tracer.source",
        Key::Thread => "thread.name",
        Key::Holder => "tracer.kept_by",
    }
}

/// An index as the format has them.
fn index(index: u32) -> i32 {
    i32::try_from(index).unwrap_or(0)
}

/// A number as the format has them.
fn signed(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

#[cfg(test)]
pub(crate) mod tests;
