"""The settings of ingest: what would fail later is refused at the start."""

from __future__ import annotations

import pytest

from ingest.settings import IngestSettings
from service.settings import read


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("INGEST_STATEMENT_TIMEOUT_SECONDS", "inf"),
        ("INGEST_STATEMENT_TIMEOUT_SECONDS", "3000000"),
        ("INGEST_MAX_MEASUREMENTS", "2147483648"),
        ("INGEST_MAX_NEW_SERIES_PER_MINUTE", "2147483648"),
        ("INGEST_MAX_SERIES", "2147483648"),
    ],
)
def test_what_postgresql_has_no_number_for_is_refused(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], variable: str, value: str
) -> None:
    """Points would be refused one after the other, for a reason that is not theirs."""
    monkeypatch.setenv("DATABASE_URL", "postgresql://db/x")
    monkeypatch.setenv(variable, value)
    with pytest.raises(SystemExit):
        read(IngestSettings, "prog", [])
    assert capsys.readouterr().err.startswith(f"prog: {variable}={value}: Input should be less than or equal to ")
