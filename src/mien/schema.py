"""The JSON Schema of timeline.json, made of the columns that `mien.table` names.

It is published as docs/timeline.schema.json; `python -m mien.schema` prints it.
"""

from __future__ import annotations

import json
from typing import Any

from mien.expressions import EXPRESSIONS
from mien.table import COLUMNS, SCHEMA_VERSION, SEGMENT_COLUMNS
from mien.timeline import FLAGS

Schema = dict[str, Any]

SOURCES = ("face", "voice", "both", "none")

SECONDS: Schema = {"type": "number", "minimum": 0}
SHARE: Schema = {"type": "number", "minimum": 0, "maximum": 1}
COUNT: Schema = {"type": "integer", "minimum": 0}
EXPRESSION: Schema = {"enum": list(EXPRESSIONS)}


def or_null(schema: Schema) -> Schema:
    """What a schema admits, or nothing.

    >>> or_null({"type": "number"})
    {'anyOf': [{'type': 'number'}, {'type': 'null'}]}
    """
    return {"anyOf": [schema, {"type": "null"}]}


def cell(column: str) -> Schema:
    """What stands in a column of the rows."""
    if column in FLAGS:
        return {"enum": [0, 1]}
    if column == "time_s":
        return SECONDS
    if column == "source":
        return {"enum": list(SOURCES)}
    if column == "label":
        return or_null(EXPRESSION)
    if column == "frame":
        return or_null(COUNT)
    if column == "track_id":
        return or_null({"type": "integer", "minimum": 1})
    return or_null({"type": "number"} if column in ("x1", "y1", "x2", "y2") else SHARE)


def fields(properties: Schema) -> Schema:
    """An object with these keys, all of them and no other."""
    return {
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }


def build_schema() -> Schema:
    """The schema, draft 2020-12.

    >>> build_schema()["properties"]["schema_version"]["const"] == SCHEMA_VERSION
    True
    """
    segment = {name: SECONDS for name in SEGMENT_COLUMNS if name.endswith("_s")}
    segment |= {"track_id": cell("track_id"), "label": EXPRESSION, "probability": SHARE}
    person: Schema = {
        "track_id": cell("track_id"),
        "first_s": SECONDS,
        "last_s": SECONDS,
        "frames": COUNT,
        "seconds": SECONDS,
        "labels": {
            "type": "object",
            "propertyNames": EXPRESSION,
            "additionalProperties": fields({"seconds": SECONDS, "share": SHARE}),
        },
        "dominant": or_null(EXPRESSION),
    }
    rows = [{"title": name, "description": meaning} | cell(name) for name, meaning in COLUMNS.items()]
    column = fields({"name": {"enum": list(COLUMNS)}, "meaning": {"type": "string"}})
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Expression timeline of mien",
        **fields(
            {
                "schema_version": {"const": SCHEMA_VERSION},
                "expressions": {"const": list(EXPRESSIONS)},
                "columns": {"type": "array", "items": column, "minItems": len(COLUMNS)},
                "rows": {
                    "type": "array",
                    "items": {
                        "type": "array",
                        "prefixItems": rows,
                        "items": False,
                        "minItems": len(COLUMNS),
                    },
                },
                "segments": {
                    "type": "array",
                    "items": fields({name: segment[name] for name in SEGMENT_COLUMNS}),
                },
                "persons": {"type": "array", "items": fields(person)},
                "provenance": {"type": "object", "required": ["mien", "model", "file"]},
            }
        ),
    }


if __name__ == "__main__":
    print(json.dumps(build_schema(), indent=1))  # noqa: T201
