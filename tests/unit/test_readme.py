"""The README's tables are those of the code."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry
from prometheus_client.metrics import MetricWrapperBase
from pydantic import SecretStr
from pydantic_core import PydanticUndefined

from ingest.agent.settings import AgentSettings
from ingest.instruments import Instruments as IngestInstruments
from ingest.settings import IngestSettings
from query.instruments import Instruments as QueryInstruments
from query.settings import QuerySettings
from service.settings import Settings, variable_of
from sql.settings import Passwords, Stack

README = Path(__file__).parents[2] / "README.md"
SETTINGS: tuple[tuple[str, type[Settings]], ...] = (
    ("`make up` and `python -m sql`", Stack),
    ("`python -m sql migrate`", Passwords),
    ("`python -m ingest`", IngestSettings),
    ("`python -m query`", QuerySettings),
    ("`python -m ingest.agent`", AgentSettings),
)


def section(name: str) -> str:
    """The README's text between a section's marks."""
    found = re.search(rf"<!-- {name} -->\n(.*)<!-- /{name} -->", README.read_text(encoding="utf-8"), re.DOTALL)
    assert found is not None
    return found[1]


def settings_tables() -> str:
    """The tables of settings, from the code."""
    lines = []
    seen: set[str] = set()
    for title, cls in SETTINGS:
        lines += ["", f"**{title}**", "", "| variable | default | |", "|---|---|---|"]
        for name, field in cls.model_fields.items():
            variable = variable_of(cls, name)
            if variable in seen:
                continue
            seen.add(variable)
            variable = variable.replace(" or ", "` or `")
            lines.append(f"| `{variable}` | {default(field.default)} | {field.description} |")
    return "\n".join([*lines[1:], "", ""])


def default(value: object) -> str:
    """A default as a user would write it; nothing where it depends on the machine."""
    if value is None or value is PydanticUndefined or isinstance(value, SecretStr):
        return ""
    if isinstance(value, (list, tuple)):
        return f"`{','.join(map(str, value))}`"
    if isinstance(value, float):
        return f"`{value:g}`"
    return f"`{value}`"


def instrument_tables() -> str:
    """The table of instruments, from the code."""
    lines = ["| instrument | kind | labels | |", "|---|---|---|---|"]
    for make in (IngestInstruments, QueryInstruments):
        registry = CollectorRegistry()
        make(registry)
        for one in registry._collector_to_names:
            assert isinstance(one, MetricWrapperBase)
            labels = ", ".join(f"`{label}`" for label in one._labelnames)
            lines.append(f"| `{one._name}` | {one._type} | {labels} | {one._documentation} |")
    return "\n".join([*lines, ""])


@pytest.mark.parametrize(("name", "expected"), [("settings", settings_tables), ("instruments", instrument_tables)])
def test_tables_are_those_of_the_code(name: str, expected: object) -> None:
    """Every setting and every instrument is in the README as the code has it, and no other is."""
    assert callable(expected)
    wanted = expected()
    assert section(name) == wanted, f"the README's {name} should read:\n\n{wanted}"


def test_every_process_is_listed() -> None:
    """Each command that takes settings is among the README's commands."""
    text = README.read_text(encoding="utf-8")
    for title, _ in SETTINGS:
        for command in re.findall(r"`([^`]+)`", title):
            assert command in text
