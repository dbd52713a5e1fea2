"""The API of query, described: of the types that check its requests, and the columns of its answers. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from query import formats, lists, parameters
from query.directory import COLUMNS
from query.newest import SERIES
from query.parameters import Request
from query.points import PointsRequest
from query.sending import CACHE, WARNING
from query.servers import SERVER
from query.tables import Column, Kind
from query.window import AggregateRequest
from service import openapi
from service.errors import (
    BadRequest,
    NotAcceptable,
    NotFound,
    RequestTimeout,
    TooLarge,
    TooManyRequests,
    Unavailable,
    Unsupported,
)
from service.openapi import ENCODING, JSON_TYPE, TEXT, Answer, JsonSchema, Operation, Parameter

DESCRIPTION = (
    "Windowed aggregates of metrics, and lists of what there is. Every answer of rows comes as JSON, CSV, NDJSON or an "
    "Arrow stream, as `format` or Accept choose, and compressed as Accept-Encoding does. NaN and infinities are null "
    "in JSON and NDJSON; CSV and Arrow tell them from what is missing."
)

NUMBER: JsonSchema = {"type": ["number", "null"]}
TIME: JsonSchema = {"type": ["string", "null"], "format": "date-time"}
TAGS: JsonSchema = {"type": "object", "additionalProperties": TEXT}
KINDS: dict[Kind, JsonSchema] = {
    "text": {"type": ["string", "null"]},
    "time": TIME,
    "number": NUMBER,
    "integer": {"type": ["integer", "null"]},
    "object": {"type": "object"},
}

FORMAT = Parameter(
    parameters.FORMAT,
    {"type": "string", "enum": list(formats.FORMATS)},
    "the answer's format; absent means what Accept likes best, JSON when it does not say",
)
REUSED = {CACHE: "hit, partial, miss or bypass: how much of the answer was there already"}
CACHING = {"ETag": "of an answer whose range is settled: known by it, it need not be sent again", **REUSED}
WARNED = {WARNING: "what the answer cannot hold: points that are no longer kept, columns that somebody has changed"}
SERVED = {SERVER: "primary or replica: the server that was asked; absent where a request was refused before that"}
KNOWN = Answer("the answer is the one that If-None-Match names", headers={**SERVED, **CACHING})
REFUSALS = {
    **openapi.errors(NotAcceptable, TooManyRequests),
    **{
        status: replace(one, headers={**SERVED, **one.headers})
        for status, one in openapi.errors(BadRequest, NotFound, Unavailable).items()
    },
}

TAGS_PATH = "/api/v1/tags"
TAG_VALUES = "/api/v1/tags/{key}/values"

WARNINGS: dict[str, JsonSchema] = {"warnings": {"type": "array", "items": TEXT}}
SEARCH: dict[str, JsonSchema] = {
    "matched": {"enum": ["part", "likeness", None], "description": "how a search found the entries"},
    **WARNINGS,
}


def document() -> JsonSchema:
    """The description of the whole service."""
    return openapi.document("Tidemark: query", DESCRIPTION, operations())


def operations() -> list[Operation]:
    """Everything that the service answers."""
    answers = {200: _rows(_aggregate(), {**CACHING, **WARNED}), 304: KNOWN, **REFUSALS}
    to_posts = {200: _rows(_aggregate(), {**REUSED, **WARNED}), **REFUSALS}
    summary = "Functions of metrics of one measurement, over windows of time."
    body = openapi.schema_of(AggregateRequest)
    body["properties"][parameters.FORMAT] = {**FORMAT.schema, "description": FORMAT.description}
    return [
        Operation("get", "/api/v1/aggregate", "aggregates", summary, answers, _parameters(AggregateRequest)),
        Operation(
            "post",
            "/api/v1/aggregate",
            "aggregates",
            f"{summary} The same parameters, as JSON.",
            {**to_posts, **openapi.errors(RequestTimeout, TooLarge, Unsupported)},
            [ENCODING],
            body={JSON_TYPE: body},
        ),
        _list("/api/v1/last", "The newest point of each series.", lists.LastRequest, _last()),
        _list("/api/v1/points", "The points for which conditions hold.", PointsRequest, _points(), is_kept=True),
        _list("/api/v1/measurements", "The measurements.", lists.MeasurementsRequest, _listed("measurements")),
        _list("/api/v1/fields", "The fields.", lists.FieldsRequest, _listed("fields")),
        _list(TAGS_PATH, "The tags that series have.", lists.TagsRequest, _listed("tags")),
        _list(
            TAG_VALUES,
            "The values that series have of one tag.",
            lists.TagValuesRequest,
            _listed("values", tag=TEXT),
        ),
        _list(
            "/api/v1/series",
            "The series, in the order in which they were made.",
            lists.SeriesRequest,
            _listed("series"),
        ),
        _list(
            "/api/v1/hosts", "The hosts, and when each was last seen.", lists.HostsRequest, _listed("hosts", since=TIME)
        ),
        *openapi.of_the_shell(),
    ]


def _list(path: str, summary: str, model: type[Request], schema: JsonSchema, *, is_kept: bool = False) -> Operation:
    rows = _rows(schema, {**(CACHING if is_kept else {}), **WARNED}, _links(path))
    answers = {200: rows, **({304: KNOWN} if is_kept else {}), **REFUSALS}
    return Operation("get", path, "lists", summary, answers, _parameters(model))


def _parameters(model: type[Request]) -> list[Parameter]:
    return [*openapi.parameters_of(model, in_path=("key",), joined=model.comma_separated), FORMAT]


def _links(path: str) -> dict[str, JsonSchema]:
    """From a page to the next one, and from a tag to its values."""
    following: JsonSchema = {
        "operationId": openapi.operation_id("get", path),
        "parameters": {"after": "$response.body#/next"},
        "description": "the next page, unless `next` is null; with the other parameters as they were",
    }
    if path == TAG_VALUES:
        following["parameters"]["path.key"] = "$request.path.key"
    if path != TAGS_PATH:
        return {"next": following}
    values: JsonSchema = {
        "operationId": openapi.operation_id("get", TAG_VALUES),
        "parameters": {"path.key": "$response.body#/tags/0/tag"},
        "description": "the values of the first tag",
    }
    return {"next": following, "values": values}


def _rows(
    schema: JsonSchema, headers: Mapping[str, str] | None = None, links: Mapping[str, JsonSchema] | None = None
) -> Answer:
    """The answer in every format; only JSON has a schema, the others have rows."""
    content = {one.aliases[0]: {} if one.name == "arrow" else TEXT for one in formats.FORMATS.values()}
    return Answer("the rows", {**content, JSON_TYPE: schema}, {**SERVED, **(headers or {})}, links or {})


def _listed(name: str, **head: JsonSchema) -> JsonSchema:
    columns = COLUMNS[name]
    key = KINDS[columns[0].kind]
    return _object(
        {**head, name: _array(_item(columns)), "next": {**key, "description": "what `after` is for the next page"}},
        optional=SEARCH,
    )


def _last() -> JsonSchema:
    item = _item(SERIES)
    item["properties"]["fields"] = {"type": "object", "additionalProperties": NUMBER}
    item["required"].append("fields")
    return _object({"since": TIME, "series": _array(item), "next": KINDS["integer"]}, optional=SEARCH)


def _points() -> JsonSchema:
    point: JsonSchema = {
        "type": "array",
        "description": "a value for each of `columns`: a time, a series' id, tags, numbers",
        "items": {"type": ["string", "number", "null"]},
        "minItems": 3,
    }
    head = {"measurement": TEXT, "start": TIME, "end": TIME, "columns": _array(TEXT)}
    following: JsonSchema = {"type": ["string", "null"], "description": "what `after` is for the next page"}
    return _object({**head, "points": _array(point), "next": following}, optional=WARNINGS)


def _aggregate() -> JsonSchema:
    point: JsonSchema = {
        "type": "array",
        "description": "a time, then a number for each of `columns`",
        "items": {"type": ["string", "number", "null"]},
        "minItems": 2,
    }
    series = _object(
        {"tags": TAGS},
        optional={
            "points": _array(point),
            "value": NUMBER,
            "values": {"type": "object", "additionalProperties": {"type": "object", "additionalProperties": NUMBER}},
        },
    )
    return _object(
        {
            "metric": _array(TEXT),
            "fn": _array(TEXT),
            "start": TIME,
            "end": TIME,
            "step": {"type": ["string", "null"]},
            "source": _array(TEXT),
            "series": _array(series),
        },
        optional={"columns": _array(_object({"metric": TEXT, "fn": TEXT})), **WARNINGS},
    )


def _item(columns: Sequence[Column]) -> JsonSchema:
    return _object({column.name: KINDS[column.kind] for column in columns})


def _array(items: JsonSchema) -> JsonSchema:
    return {"type": "array", "items": items}


def _object(members: dict[str, JsonSchema], optional: dict[str, JsonSchema] | None = None) -> JsonSchema:
    return {
        "type": "object",
        "properties": {**members, **(optional or {})},
        "required": list(members),
        "additionalProperties": False,
    }
