"""The description of a service as OpenAPI 3.1, made of the types that check its requests. Pure.

The format: https://spec.openapis.org/oas/v3.1.1.html. What a parameter may be is the JSON schema that pydantic makes of
its field; what is told of an error is its class's docstring.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from pydantic import BaseModel

from service import VERSION
from service.body import DECODINGS
from service.errors import HttpError, TooManyRequests, Unavailable, Unmet

JsonSchema = dict[str, Any]

TEXT: JsonSchema = {"type": "string"}
JSON_TYPE = "application/json"
ERROR = "Error"
"""The component that every error's body is."""
TO_BE_RETRIED = (TooManyRequests, Unavailable)
RETRY = {"Retry-After": "how many seconds to wait before the same request is sent again"}


@dataclass(frozen=True, slots=True)
class Parameter:
    """A parameter of the query string, the path or the head."""

    name: str
    schema: JsonSchema
    description: str
    place: Literal["query", "path", "header"] = "query"
    is_required: bool = False
    is_joined: bool = False
    """Whether a list is one text with commas, rather than the parameter repeated."""


ENCODING = Parameter(
    "Content-Encoding",
    {"type": "string", "enum": ["identity", *DECODINGS]},
    "how the body is compressed",
    place="header",
)
"""Of what takes a body."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What is heard with one status."""

    description: str
    content: Mapping[str, JsonSchema] = field(default_factory=dict)
    """Schemas by media type."""
    headers: Mapping[str, str] = field(default_factory=dict)
    """Descriptions by name."""
    links: Mapping[str, JsonSchema] = field(default_factory=dict)
    """What may be asked next with what was heard: the specification's link objects."""


@dataclass(frozen=True, slots=True)
class Operation:
    """A method of a path."""

    method: Literal["get", "post"]
    path: str
    group: str
    summary: str
    answers: Mapping[int, Answer]
    parameters: Sequence[Parameter] = ()
    body: Mapping[str, JsonSchema] = field(default_factory=dict)
    """Schemas of what is sent, by media type."""
    needs_body: bool = True
    """Whether a request without what `body` describes is refused."""


def document(title: str, description: str, operations: Iterable[Operation]) -> JsonSchema:
    """The whole description."""
    paths: dict[str, JsonSchema] = {}
    for operation in operations:
        paths.setdefault(operation.path, {})[operation.method] = _operation(operation)
    return {
        "openapi": "3.1.0",
        "info": {"title": title, "version": VERSION, "description": description},
        "paths": paths,
        "components": {"schemas": {ERROR: ERROR_SCHEMA}},
    }


ERROR_SCHEMA: JsonSchema = {
    "type": "object",
    "description": "The body of every error; other members say more: parameter, limit, allowed, known, rejections.",
    "properties": {
        "code": {"type": "string", "description": "the kind of error"},
        "error": {"type": "string", "description": "the message, for InfluxDB's clients"},
        "message": {"type": "string", "description": "what was wrong, where, and what is allowed"},
    },
    "required": ["code", "error", "message"],
}


def parameters_of(
    model: type[BaseModel], *, in_path: Collection[str] = (), joined: Collection[str] = ()
) -> list[Parameter]:
    """The parameters that a model checks, as they stand in a URL."""
    schema = schema_of(model)
    return [
        Parameter(
            name,
            _in_url({key: value for key, value in one.items() if key != "description"}),
            one.get("description", ""),
            place="path" if name in in_path else "query",
            is_required=name in schema.get("required", ()),
            is_joined=name in joined,
        )
        for name, one in schema["properties"].items()
    ]


def schema_of(model: type[BaseModel], without: Collection[str] = ()) -> JsonSchema:
    """The JSON schema of what a model takes, without the noise, and without some members."""
    schema = model.model_json_schema()
    return {
        "type": "object",
        "additionalProperties": False,
        "properties": {
            name: {key: value for key, value in one.items() if key != "title" and (key != "default" or value)}
            for name, one in schema.get("properties", {}).items()
            if name not in without
        },
        **({"required": schema["required"]} if "required" in schema else {}),
    }


def of_the_shell() -> list[Operation]:
    """What every service answers beside its own endpoints."""
    told: JsonSchema = {"type": "object", "properties": {"status": TEXT}, "required": ["status"]}
    state: JsonSchema = {
        "type": "object",
        "properties": {"service": TEXT, "ready": {"type": "boolean"}, "uptime_seconds": {"type": "number"}},
        "required": ["service", "ready", "uptime_seconds"],
    }
    return [
        Operation("get", "/healthz", "service", "Does the process run?", {200: Answer("it does", {JSON_TYPE: told})}),
        Operation(
            "get",
            "/readyz",
            "service",
            "Can the process do its work?",
            {200: Answer("it can", {JSON_TYPE: told}), **errors(Unavailable)},
        ),
        Operation(
            "get",
            "/metrics",
            "service",
            "The process's instruments.",
            {200: Answer("Prometheus' text format", {"text/plain": TEXT})},
        ),
        Operation(
            "get",
            "/api/v1/status",
            "service",
            "The state of the process, for people.",
            {200: Answer("the state", {JSON_TYPE: state})},
        ),
        Operation(
            "get",
            "/openapi.json",
            "service",
            "This description.",
            {200: Answer("OpenAPI 3.1", {JSON_TYPE: {"type": "object", "required": ["openapi", "paths"]}})},
        ),
        Operation(
            "get", "/docs", "service", "A page that shows this description.", {200: Answer("HTML", {"text/html": TEXT})}
        ),
    ]


def errors(*kinds: type[HttpError]) -> dict[int, Answer]:
    """The answers of errors: their statuses, and what their docstrings say."""
    content = {JSON_TYPE: {"$ref": f"#/components/schemas/{ERROR}"}}
    return {
        kind.status: Answer(
            " ".join((kind.__doc__ or "").split()), content, RETRY if issubclass(kind, TO_BE_RETRIED) else {}
        )
        for kind in kinds
    }


def _in_url(schema: JsonSchema) -> JsonSchema:
    """Without null, which a URL cannot write."""
    choices = [one for one in schema.get("anyOf", ()) if one != {"type": "null"}]
    rest = {key: value for key, value in schema.items() if key != "anyOf"}
    if len(choices) == 1:
        return {**rest, **choices[0]}
    return {**rest, "anyOf": choices} if choices else rest


def _operation(operation: Operation) -> JsonSchema:
    answers = {**operation.answers, **errors(Unmet)}  # which the shell gives, wherever a request goes
    found: JsonSchema = {
        "tags": [operation.group],
        "summary": operation.summary,
        "operationId": operation_id(operation.method, operation.path),
        "parameters": [_parameter(one) for one in operation.parameters],
        "responses": {str(status): _answer(one) for status, one in sorted(answers.items())},
    }
    if operation.body:
        content = {kind: {"schema": schema} for kind, schema in operation.body.items()}
        found["requestBody"] = {"required": operation.needs_body, "content": content}
    return found


def operation_id(method: str, path: str) -> str:
    """By what links name an operation."""
    return f"{method}{path.translate(PLAIN)}"


PLAIN = str.maketrans({"/": "_", "{": None, "}": None, ".": "_"})


def _parameter(parameter: Parameter) -> JsonSchema:
    is_list = parameter.schema.get("type") == "array"
    return {
        "name": parameter.name,
        "in": parameter.place,
        "description": parameter.description,
        "required": parameter.is_required or parameter.place == "path",
        "schema": parameter.schema,
        **({"style": "form", "explode": not parameter.is_joined} if is_list else {}),
    }


def _answer(answer: Answer) -> JsonSchema:
    found: JsonSchema = {"description": answer.description}
    if answer.content:
        found["content"] = {kind: {"schema": schema} for kind, schema in answer.content.items()}
    if answer.headers:
        found["headers"] = {name: {"description": text, "schema": TEXT} for name, text in answer.headers.items()}
    if answer.links:
        found["links"] = dict(answer.links)
    return found
