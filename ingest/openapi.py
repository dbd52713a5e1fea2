"""The API of ingest, described: of the names and types that its endpoints read. Pure."""

from __future__ import annotations

from typing import Literal

from ingest.answers import DURABILITY, POSITION, SKIPPED
from ingest.routes import JSON_TYPES, NDJSON_TYPES
from ingest.timestamps import PRECISIONS_NS
from service import openapi
from service.errors import BadRequest, RequestTimeout, TooLarge, Unavailable, Unsupported
from service.openapi import ENCODING, JSON_TYPE, TEXT, Answer, JsonSchema, Operation, Parameter

DESCRIPTION = (
    "Takes points. 204 says that every point is kept: committed, or in the spool, as Tidemark-Durability tells. "
    "400 says how many are, and lists the others. Any other status promises nothing: send the points again."
)

PRECISION: JsonSchema = {"type": "string", "enum": list(PRECISIONS_NS)}
KEPT = Answer(
    "every point is kept",
    headers={
        DURABILITY: "committed, or spooled: on disk until the database takes it",
        POSITION: "of what is committed, in the database's log: who names it to query has the points in the answer",
        SKIPPED: "fields that were left out of their points: strings are no metrics",
    },
)
REFUSALS = openapi.errors(BadRequest, RequestTimeout, TooLarge, Unsupported, Unavailable)

VERSIONS = {"X-Influxdb-Version": "the version of InfluxDB whose clients are understood", "X-Influxdb-Build": "OSS"}

NUMBER_OR_TEXT: JsonSchema = {"type": ["number", "string", "boolean", "null"]}
FULL: JsonSchema = {
    "type": "object",
    "properties": {
        "measurement": TEXT,
        "time": {"type": ["string", "number"], "description": "RFC 3339, or a number in `precision`; absent means now"},
        "tags": {"type": "object", "additionalProperties": TEXT},
        "fields": {"type": "object", "additionalProperties": NUMBER_OR_TEXT},
    },
    "required": ["fields"],
}
FLAT: JsonSchema = {
    "type": "object",
    "description": "strings are tags, numbers are fields of `measurement`, which is `metrics` when absent",
    "properties": {"measurement": TEXT, "time": FULL["properties"]["time"]},
    "additionalProperties": NUMBER_OR_TEXT,
    "examples": [{"host": "web-1", "cpu_usage": 12.5, "memory_usage": 71.0}],
}
POINTS: JsonSchema = {"anyOf": [FULL, FLAT, {"type": "array", "items": {"anyOf": [FULL, FLAT]}}]}
LINES: JsonSchema = {"type": "string", "examples": ["weather,city=Bergen rain=3 1795334400000000000"]}


def document() -> JsonSchema:
    """The description of the whole service."""
    return openapi.document("Tidemark: ingest", DESCRIPTION, operations())


def operations() -> list[Operation]:
    """Everything that the service answers."""
    return [
        Operation(
            "post",
            "/api/v1/points",
            "points",
            "Take points as JSON: one, an array of them, or one a line (NDJSON).",
            {204: KEPT, **REFUSALS},
            [_precision("s"), ENCODING],
            body={**dict.fromkeys(JSON_TYPES, POINTS), **dict.fromkeys(NDJSON_TYPES, TEXT)},
        ),
        _lines("/write", "Take line protocol, as InfluxDB 1 does.", ("db", "rp", "u", "p", "consistency")),
        _lines("/api/v2/write", "Take line protocol, as InfluxDB 2 does.", ("org", "orgID", "bucket")),
        *(_query(method) for method in ("get", "post")),
        Operation(
            "get",
            "/ping",
            "as InfluxDB",
            "Is a server there?",
            {
                200: Answer(
                    "it is, and has this version", {JSON_TYPE: {"type": "object", "required": ["version"]}}, VERSIONS
                ),
                204: Answer("it is", headers=VERSIONS),
            },
            [Parameter("verbose", {"type": "string"}, "true: tell the version in the body")],
        ),
        Operation(
            "get",
            "/health",
            "as InfluxDB",
            "Is the server well?",
            {200: Answer("it is", {JSON_TYPE: {"type": "object", "required": ["name", "status", "version"]}})},
        ),
        *openapi.of_the_shell(),
    ]


def _precision(default: str) -> Parameter:
    return Parameter("precision", PRECISION, f"the unit of times; absent means {default}")


def _lines(path: str, summary: str, ignored: tuple[str, ...]) -> Operation:
    parameters = [Parameter(name, TEXT, "taken, as InfluxDB's clients send it, and not used") for name in ignored]
    return Operation(
        "post",
        path,
        "points",
        summary,
        {204: KEPT, **REFUSALS},
        [_precision("ns"), ENCODING, *parameters],
        body={"text/plain": LINES},
    )


def _query(method: Literal["get", "post"]) -> Operation:
    form: JsonSchema = {"type": "object", "properties": {"q": TEXT}}
    results: JsonSchema = {"type": "object", "properties": {"results": {"type": "array"}}, "required": ["results"]}
    answers = {200: Answer("the results", {JSON_TYPE: results}), **openapi.errors(BadRequest)}
    return Operation(
        method,
        "/query",
        "as InfluxDB",
        "CREATE DATABASE and SHOW DATABASES, which InfluxDB's clients ask before they write.",
        answers if method == "get" else {**answers, **REFUSALS},
        [Parameter("q", {**TEXT, "examples": ["SHOW DATABASES"]}, "InfluxQL", is_required=method == "get")],
        body={} if method == "get" else {"application/x-www-form-urlencoded": form},
        needs_body=False,
    )
