"""The JSON Schema of suite files."""

from __future__ import annotations

from typing import Any

from bench.suite.entry import entry_schema
from bench.suite.fields import MAX_TRIALS
from bench.suite.kinds import ENTRY_FIELDS
from bench.suite.knobs import OFF, LogGrid
from bench.suite.suite import Suite


def json_schema() -> dict[str, Any]:
    """JSON Schema of a suite file, for completion and checks in an editor."""
    schema = Suite.model_json_schema()
    for field, kind in ENTRY_FIELDS.items():
        schema["properties"][field]["items"] = entry_schema(kind)
    seeds = schema["properties"]["seeds"]
    many = {key: seeds.pop(key) for key in ("type", "items", "minItems")} | {"uniqueItems": True}
    seeds["anyOf"] = [{"type": "integer", "minimum": 1, "maximum": MAX_TRIALS}, many]
    for name, knob in schema["$defs"]["KnobGrid"]["properties"].items():
        one, minimum = knob.pop("items"), knob.pop("minItems")
        del knob["type"]
        if name == "grad_clip":
            one = {"anyOf": [one, {"const": OFF}]}
        many = {"type": "array", "items": one, "minItems": minimum, "uniqueItems": True}
        knob["anyOf"] = [one, many, {"$ref": "#/$defs/LogGrid"}]
        if "default" in knob:
            knob["default"] = OFF if name == "grad_clip" else knob["default"][0]
    schema["required"].remove("knobs")
    del schema["$defs"]["KnobGrid"]["required"]
    of_grid = {"required": ["knobs"], "properties": {"knobs": {"required": ["lr"]}}}
    schema |= {"if": {"required": ["box"]}, "then": {"required": ["design"]}, "else": of_grid}
    schema["$defs"]["Box"]["additionalProperties"] = {"anyOf": [{"$ref": "#/$defs/KnobRange"}, {"type": "array"}]}
    schema["$defs"]["LogGrid"] = LogGrid.model_json_schema()
    return {"$schema": "https://json-schema.org/draft/2020-12/schema"} | schema
