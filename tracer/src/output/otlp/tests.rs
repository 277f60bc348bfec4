//! The rules of OpenTelemetry's profiles: what a Collector relies on.

use std::collections::{BTreeMap, BTreeSet};

use super::*;
use crate::attribute::Rules;
use crate::recording::{self, fixture};

fn profile() -> Profile {
    let (_folder, path) = fixture::finished();
    Profile::build(&recording::read(&path).expect("read"), &Rules::builtin())
}

/// The sums of each profile, by the name of its type.
pub(crate) fn sums(file: &[u8]) -> BTreeMap<String, i64> {
    let data = proto::ProfilesData::decode(file).expect("OTLP");
    let dictionary = data.dictionary.as_ref().expect("dictionary");
    let of = |profile: &proto::Profile| {
        let of = profile.sample_type.as_ref().expect("type").type_strindex;
        let sum = profile.samples.iter().flat_map(|sample| &sample.values).sum();
        (dictionary.string_table[at(of)].clone(), sum)
    };
    profiles(&data).map(of).collect()
}

fn profiles(data: &proto::ProfilesData) -> impl Iterator<Item = &proto::Profile> {
    let scopes = data.resource_profiles.iter().flat_map(|resource| &resource.scope_profiles);
    scopes.flat_map(|scope| &scope.profiles)
}

fn at(index: i32) -> usize {
    usize::try_from(index).expect("index")
}

/// Rows of the tables to which something refers.
#[derive(Default)]
struct Used {
    strings: BTreeSet<i32>,
    attributes: BTreeSet<i32>,
    mappings: BTreeSet<i32>,
    locations: BTreeSet<i32>,
    functions: BTreeSet<i32>,
    stacks: BTreeSet<i32>,
}

fn used(data: &proto::ProfilesData) -> Used {
    let tables = data.dictionary.as_ref().expect("dictionary");
    let mut used = Used::default();
    for profile in profiles(data) {
        for of in [&profile.sample_type, &profile.period_type].into_iter().flatten() {
            used.strings.extend([of.type_strindex, of.unit_strindex]);
        }
        for sample in &profile.samples {
            used.stacks.insert(sample.stack_index);
            used.attributes.extend(&sample.attribute_indices);
        }
    }
    used.locations.extend(tables.stack_table.iter().flat_map(|stack| &stack.location_indices));
    for location in &tables.location_table {
        used.mappings.insert(location.mapping_index);
        used.attributes.extend(&location.attribute_indices);
        used.functions.extend(location.lines.iter().map(|line| line.function_index));
    }
    for mapping in &tables.mapping_table {
        used.strings.insert(mapping.filename_strindex);
        used.attributes.extend(&mapping.attribute_indices);
    }
    for function in &tables.function_table {
        used.strings.extend([
            function.name_strindex,
            function.system_name_strindex,
            function.filename_strindex,
        ]);
    }
    used.strings.extend(tables.attribute_table.iter().map(|attribute| attribute.key_strindex));
    used
}

#[test]
fn a_file_keeps_to_the_rules() {
    let data = proto::ProfilesData::decode(encode(&profile(), &Options::default(), None).as_slice());
    let data = data.expect("OTLP");
    let tables = data.dictionary.as_ref().expect("dictionary");
    // The first row of each table says that there is none.
    assert_eq!(tables.string_table[0], "");
    assert_eq!(tables.mapping_table[0], proto::Mapping::default());
    assert_eq!(tables.location_table[0], proto::Location::default());
    assert_eq!(tables.function_table[0], proto::Function::default());
    assert_eq!(tables.link_table[0], proto::Link::default());
    assert_eq!(tables.attribute_table[0], proto::KeyValueAndUnit::default());
    assert_eq!(tables.stack_table[0], proto::Stack::default());
    // Every row is there once, and something refers to it.
    let distinct = |count: usize, rows: BTreeSet<String>| assert_eq!(rows.len(), count, "{rows:?}");
    distinct(tables.string_table.len(), tables.string_table.iter().cloned().collect());
    distinct(tables.mapping_table.len(), tables.mapping_table.iter().map(|row| format!("{row:?}")).collect());
    distinct(
        tables.location_table.len(),
        tables.location_table.iter().map(|row| format!("{row:?}")).collect(),
    );
    distinct(
        tables.function_table.len(),
        tables.function_table.iter().map(|row| format!("{row:?}")).collect(),
    );
    distinct(
        tables.attribute_table.len(),
        tables.attribute_table.iter().map(|row| format!("{row:?}")).collect(),
    );
    distinct(tables.stack_table.len(), tables.stack_table.iter().map(|row| format!("{row:?}")).collect());
    let used = used(&data);
    let values: BTreeSet<&str> = tables.attribute_table.iter().filter_map(text_of).collect();
    for (index, text) in (0..).zip(&tables.string_table) {
        assert!(
            index == 0 || used.strings.contains(&index) || values.contains(text.as_str()),
            "orphan: {text}"
        );
    }
    for (name, count, used) in [
        ("attribute", tables.attribute_table.len(), &used.attributes),
        // The first mapping is the program's, whatever is in it.
        ("mapping", tables.mapping_table.len(), &used.mappings),
        ("location", tables.location_table.len(), &used.locations),
        ("function", tables.function_table.len(), &used.functions),
        ("stack", tables.stack_table.len(), &used.stacks),
    ] {
        let last = i32::try_from(count).expect("small");
        assert!((1..last).all(|index| used.contains(&index)), "{name}: an orphan among {count}");
        assert!(used.iter().all(|index| (0..last).contains(index)), "{name}: beyond {count}");
    }
    for mapping in &tables.mapping_table[1..] {
        assert!(mapping.memory_limit == 0 || mapping.memory_start < mapping.memory_limit);
    }
}

fn text_of(attribute: &proto::KeyValueAndUnit) -> Option<&str> {
    match attribute.value.as_ref()?.value.as_ref()? {
        proto::any_value::Value::StringValue(text) => Some(text),
        _ => None,
    }
}

#[test]
fn samples_have_one_value_and_each_key_once() {
    let data = proto::ProfilesData::decode(encode(&profile(), &Options::default(), None).as_slice());
    let data = data.expect("OTLP");
    let tables = data.dictionary.as_ref().expect("dictionary");
    for profile in profiles(&data) {
        assert!(profile.period > 0 && profile.time_unix_nano > 0);
        let mut seen = BTreeSet::new();
        for sample in &profile.samples {
            assert_eq!(sample.values.len(), 1);
            let keys = sample.attribute_indices.iter().map(|&it| tables.attribute_table[at(it)].key_strindex);
            let keys: BTreeSet<i32> = keys.collect();
            assert_eq!(keys.len(), sample.attribute_indices.len());
            let mut attributes = sample.attribute_indices.clone();
            attributes.sort_unstable();
            assert!(seen.insert((sample.stack_index, attributes)), "one sample an identity");
        }
    }
}

#[test]
fn the_profiles_have_the_sums_of_the_report() {
    let totals = profile().totals;
    let sums = sums(&encode(&profile(), &Options::default(), None));
    let expected = [
        ("alloc_objects", totals.allocated_count),
        ("alloc_space", totals.allocated_bytes),
        ("inuse_objects", totals.live_count),
        ("inuse_space", totals.live_bytes),
    ];
    let expected = expected.map(|(of, sum)| (of.to_owned(), i64::try_from(sum).expect("small")));
    assert_eq!(sums, BTreeMap::from(expected));
}

#[test]
fn the_resource_is_the_process() {
    let data = proto::ProfilesData::decode(encode(&profile(), &Options::default(), Some("shop")).as_slice());
    let data = data.expect("OTLP");
    let resource = data.resource_profiles[0].resource.as_ref().expect("resource");
    let text = |key: &str| {
        let attribute = resource.attributes.iter().find(|attribute| attribute.key == key).expect(key);
        format!("{:?}", attribute.value.as_ref().and_then(|value| value.value.as_ref()).expect("value"))
    };
    assert_eq!(text("service.name"), "StringValue(\"shop\")");
    assert_eq!(text("process.pid"), "IntValue(4711)");
    assert_eq!(text("tracer.sampled"), "BoolValue(false)");
    let first = profiles(&data).next().expect("profile").sample_type.expect("type").type_strindex;
    assert_eq!(data.dictionary.as_ref().expect("dictionary").string_table[at(first)], "inuse_space");
}
