"""Requests made of a service's own description, good ones and bad ones, and its answers held to the description."""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Mapping, MutableMapping
from pathlib import Path
from typing import Any

import hypothesis
import schemathesis
from aiohttp import web
from hypothesis import HealthCheck, Phase
from schemathesis import checks
from schemathesis.core.result import Ok
from schemathesis.generation import GenerationMode
from schemathesis.specs.openapi import checks as openapi_checks

EXAMPLES = 6
"""Requests of each kind for each operation."""
SEED = 20261125

CHECKS = [
    checks.not_a_server_error,
    openapi_checks.status_code_conformance,
    openapi_checks.content_type_conformance,
    openapi_checks.response_schema_conformance,
]

Operation = schemathesis.APIOperation[Any, Any, Any, Any]
Case = schemathesis.Case[Any]
Heard = dict[str, Counter[int]]
"""How often each status was heard, by operation."""


def fuzz(url: str, known: Mapping[str, Any]) -> Heard:
    """Ask everything that the service at `url` describes; fails at the first answer that is not as described.

    `known` has values of parameters that exist, and of a `body` that is text: with them, where they stand, requests get
    further.
    """
    schema = schemathesis.openapi.from_url(f"{url}/openapi.json")
    heard: Heard = {}
    for found in schema.get_all_operations():
        assert isinstance(found, Ok), found
        operation = found.ok()
        statuses = heard.setdefault(operation.label, Counter())
        _ask(operation, GenerationMode.POSITIVE, url, {}, statuses)
        definition = operation.definition.raw
        if definition["parameters"] or "requestBody" in definition:  # else there is nothing to vary
            _ask(operation, GenerationMode.POSITIVE, url, known, statuses)
            _ask(operation, GenerationMode.NEGATIVE, url, {}, statuses)
    return heard


def _ask(
    operation: Operation, mode: GenerationMode, url: str, known: Mapping[str, Any], statuses: Counter[int]
) -> None:
    @hypothesis.seed(SEED)
    @hypothesis.settings(
        max_examples=EXAMPLES,
        deadline=None,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @hypothesis.given(case=operation.as_strategy(generation_mode=mode))
    def ask(case: Case) -> None:
        for given in (case.query, case.body):
            if isinstance(given, MutableMapping):
                given.update({name: value for name, value in known.items() if name in given})
        if isinstance(case.body, str) and "body" in known:
            case.body = known["body"]
        response = case.call(base_url=url, timeout=60)
        statuses[response.status_code] += 1
        case.validate_response(response, checks=CHECKS)

    ask()


def examples_and_edges(url: str) -> str:
    """Have schemathesis ask for every example of the description, and at every edge of what it allows, by itself.

    Its checks are all that it has, but one: a request may be refused though each of its parameters is as described, as
    when it ends before it starts. The lines of what it has to say; empty when all is as described.
    """
    ran = subprocess.run(
        [
            *(str(Path(sys.executable).with_name("schemathesis")), "run", f"{url}/openapi.json"),
            *("--checks", "all", "--exclude-checks", "positive_data_acceptance"),
            *("--phases", "examples,coverage,stateful", "--seed", str(SEED), "--max-examples", str(EXAMPLES)),
            *("--continue-on-failure", "--no-shrink", "--suppress-health-check", "all", "--no-color"),
        ],
        cwd=tempfile.gettempdir(),
        capture_output=True,
        text=True,
        check=False,
    )
    told = ran.stdout + ran.stderr
    assert "Tested: " in told, told
    return told if ran.returncode or "Unresolvable references" in told else ""


PAGES = re.compile(r"/$|/docs/|/assets/")
"""What browsers are shown."""


def described(document: Mapping[str, Any]) -> set[tuple[str, str]]:
    """The methods and paths of a description."""
    return {(method.upper(), path) for path, methods in document["paths"].items() for method in methods}


def answered(app: web.Application) -> set[tuple[str, str]]:
    """The methods and paths that an application answers; a HEAD goes with its GET, and pages are no part of an API."""
    routes = {(route.method, route.resource.canonical) for route in app.router.routes() if route.resource}
    return {(method, path) for method, path in routes if method != "HEAD" and not PAGES.match(path)}
