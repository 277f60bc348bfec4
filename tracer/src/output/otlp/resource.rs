//! The process as a resource, by OpenTelemetry's semantic conventions.

use super::proto::any_value::Value;
use super::proto::{AnyValue, ArrayValue, KeyValue};
use crate::output::{clean, filtered, program_name};
use crate::process::Pid;
use crate::profile::Profile;

/// Attributes of the process. `service`: the name of the service; `None` means the program's.
pub(super) fn attributes(profile: &Profile, service: Option<&str>) -> Vec<KeyValue> {
    let target = &profile.target;
    let name = service.map_or_else(|| program_name(target), |name| clean(name).into_owned());
    let mut attributes = vec![
        of("service.name", text(name)),
        of("process.executable.name", text(clean(&target.comm).into_owned())),
    ];
    if target.pid != Pid(0) {
        attributes.push(of("process.pid", AnyValue { value: Some(Value::IntValue(target.pid.0.into())) }));
    }
    if !target.command.is_empty() {
        let values = target.command.iter().map(|argument| text(clean(argument).into_owned())).collect();
        let array = AnyValue { value: Some(Value::ArrayValue(ArrayValue { values })) };
        attributes.push(of("process.command_args", array));
    }
    let jvm = target.jvm.as_ref();
    let filter = filtered::of_profile(profile).join(" ");
    let known = [
        ("process.runtime.name", jvm.and_then(|jvm| jvm.vendor.as_deref())),
        ("process.runtime.version", jvm.and_then(|jvm| jvm.version.as_deref())),
        ("container.id", target.container.as_deref()),
        ("tracer.filter", Some(filter.as_str()).filter(|filter| !filter.is_empty())),
    ];
    let known = known.into_iter().filter_map(|(key, value)| Some((key, value?)));
    attributes.extend(known.map(|(key, value)| of(key, text(clean(value).into_owned()))));
    let sampled = profile.session.sample_bytes.is_some();
    let facts = [("tracer.complete", !profile.is_incomplete()), ("tracer.sampled", sampled)];
    attributes.extend(facts.map(|(key, fact)| of(key, AnyValue { value: Some(Value::BoolValue(fact)) })));
    attributes
}

/// A string as a value.
pub(super) fn text(text: String) -> AnyValue {
    AnyValue { value: Some(Value::StringValue(text)) }
}

fn of(key: &str, value: AnyValue) -> KeyValue {
    KeyValue { key: key.to_owned(), value: Some(value) }
}
