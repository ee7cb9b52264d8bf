"""The contract as JSON Schema, for producers and readers in other languages: made from the types that the code reads with.

A schema says what a job or an outcome looks like. What FCM allows beside that (sizes, names, times) is for the worker to
check, who says in the outcome what is wrong.
"""

from __future__ import annotations

from typing import Any

import msgspec

from dispatcher.model import Outcome
from dispatcher.protocol.contract import JOB_FIELDS, OUTCOME_FIELDS, STATUSES
from dispatcher.protocol.job import MAX_ATTRIBUTES, MAX_TOKENS
from dispatcher.protocol.operation import OPERATIONS
from dispatcher.protocol.schema import Message

DIALECT = "https://json-schema.org/draft/2020-12/schema"

_SECONDS = {"type": "string", "pattern": r"^\d{1,11}(\.\d{1,9})?$"}
_TOKENS = {
    "type": "array",
    "items": {"type": "string", "minLength": 1},
    "minItems": 1,
    "maxItems": MAX_TOKENS,
}


def _json(content: dict[str, Any]) -> dict[str, Any]:
    """A string that holds JSON."""
    return {"type": "string", "contentMediaType": "application/json", "contentSchema": content}


_JOB_TYPES: dict[str, dict[str, Any]] = {
    "message": _json({"$ref": "message.json"}),
    "tokens": _json(_TOKENS),
    "group": {"type": "string", "minLength": 1},
    "id": {"type": "string"},
    "deliver_at": _SECONDS,
    "expires_at": _SECONDS,
    "dedup_key": {"type": "string"},
    "on_unknown": {"enum": ["resend", "give_up"]},
    "campaign": {"type": "string"},
    "validate_only": {"enum": ["0", "1"]},
    "delivery_receipt": {"enum": ["0", "1"]},
    "attributes": {**_json({}), "maxLength": MAX_ATTRIBUTES},
    "traceparent": {"type": "string"},
    "operation": {"enum": list(OPERATIONS)},
    "request": _json({"type": "object"}),
}


def job_schema() -> dict[str, Any]:
    """A job as a stream entry: fields and values, all of them strings; JSON within is described by `contentSchema`."""
    requests = [
        {
            "if": {"properties": {"operation": {"const": operation}}, "required": ["operation"]},
            "then": {"properties": {"request": _json(_request(operation))}, "required": ["request"]},
        }
        for operation in OPERATIONS
    ]
    return {
        "$schema": DIALECT,
        "$id": "job.json",
        "title": "Job: one entry of fcm:{P}:jobs:high, :normal or :bulk",
        "type": "object",
        "properties": {
            field.name: {"description": _plain(field.meaning), **_JOB_TYPES[field.name]}
            for field in JOB_FIELDS
        },
        "oneOf": [{"required": ["message"]}, {"required": ["operation"]}],
        "allOf": [{"not": {"required": ["tokens", "group"]}}, *requests],
    }


def message_schema() -> dict[str, Any]:
    """The field `message`, unwrapped and in snake_case; camelCase and `{"message": {...}}` are read as well."""
    schema = msgspec.json.schema(Message, ref_template="#/$defs/{name}")
    top = schema["$defs"].pop("Message")
    return {
        "$schema": DIALECT,
        "$id": "message.json",
        "title": "Message: the HTTP v1 resource, in snake_case",
        **{name: value for name, value in top.items() if name != "title"},
        "$defs": schema["$defs"],
    }


def outcomes_schema() -> dict[str, Any]:
    """The field `outcomes` of an entry of the outcome stream."""
    meanings = {field.name: field.meaning for field in OUTCOME_FIELDS}
    meanings["status"] = "; ".join(f"{row.status}: {row.meaning}" for row in STATUSES)
    properties: dict[str, Any] = {}
    required: list[str] = []
    for field in msgspec.structs.fields(Outcome):
        # Raw is any JSON: the producer's own, or the service's.
        kind: Any = msgspec.json.schema(field.type) if field.type is not msgspec.Raw else {}
        if "$ref" in kind:
            kind = {"enum": [row.status for row in STATUSES]}
        properties[field.name] = {"description": _plain(meanings[field.name]), **kind}
        if field.required:
            required.append(field.name)
    return {
        "$schema": DIALECT,
        "$id": "outcomes.json",
        "title": "The field `outcomes` of an entry of fcm:{P}:outcomes",
        "type": "array",
        "items": {"type": "object", "properties": properties, "required": required},
    }


SCHEMAS = {"job.json": job_schema, "message.json": message_schema, "outcomes.json": outcomes_schema}
"""What makes each file."""


def _request(operation: str) -> dict[str, Any]:
    schema = msgspec.json.schema(OPERATIONS[operation])
    found: dict[str, Any] = next(iter(schema["$defs"].values()))
    return {name: value for name, value in found.items() if name not in ("title", "description")}


def _plain(text: str) -> str:
    return text.replace("`", "")
