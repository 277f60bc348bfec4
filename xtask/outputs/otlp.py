"""Prints the sums of the profiles in an OTLP file as JSON, as OpenTelemetry's own package decodes it."""

import json
import sys

from opentelemetry.proto.profiles.v1development import profiles_pb2

with open(sys.argv[1], "rb") as file:
    data = profiles_pb2.ProfilesData.FromString(file.read())
strings = data.dictionary.string_table
sums = {}
for resource in data.resource_profiles:
    for scope in resource.scope_profiles:
        for profile in scope.profiles:
            name = strings[profile.sample_type.type_strindex]
            sums[name] = sum(value for sample in profile.samples for value in sample.values)
            # Every index leads to a row.
            for sample in profile.samples:
                stack = data.dictionary.stack_table[sample.stack_index]
                for location in stack.location_indices:
                    for line in data.dictionary.location_table[location].lines:
                        function = data.dictionary.function_table[line.function_index]
                        assert strings[function.name_strindex]
print(json.dumps(sums))
