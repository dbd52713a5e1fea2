"""The input that reads Tidemark's own services: the instruments at their `/metrics`, as the measurement `tidemark`.

A sample's name is its field and its labels are tags, as Telegraf's input `prometheus` has it in version 2; a
histogram's buckets have the tag `le`. Every point has the tag `instance`, which is host and port of the service: two
services count some things, such as their processor time, by the same name.
"""

from __future__ import annotations

import http.client
import time
import urllib.request
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from urllib.parse import urlsplit

from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.samples import Sample

from ingest.agent.points import Fields, PartlyRead, Point
from service.errors import TidemarkError
from service.settings import KIBIBYTES

MEASUREMENT = "tidemark"
PART_BYTES = 64 * KIBIBYTES
_OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}))
"""Services are reached without a proxy, as ingest is."""


class NotRead(TidemarkError):
    """A service's instruments could not be read; the message says why."""


@dataclass(frozen=True, slots=True)
class Services:
    """Reads the services one after the other; `max_bytes` and `timeout_seconds` are for each."""

    urls: Sequence[str]
    max_bytes: int
    timeout_seconds: float

    def __call__(self) -> list[Point]:
        """A point for each set of labels of each service. Raises `PartlyRead` when one of them cannot be read."""
        read: list[Point] = []
        faults = []
        for url in self.urls:
            try:
                read += points(self._text(url), urlsplit(url).netloc)
            except NotRead as error:
                faults.append(f"{url}: {error}")
        if faults:
            raise PartlyRead(read, faults)
        return read

    def _text(self, url: str) -> str:
        deadline = time.monotonic() + self.timeout_seconds
        read = bytearray()
        try:
            with _OPENER.open(url, timeout=self.timeout_seconds) as answer:
                while part := answer.read1(PART_BYTES):
                    read += part
                    if len(read) > self.max_bytes:
                        raise NotRead(f"more than {self.max_bytes} bytes")
                    if time.monotonic() > deadline:
                        raise NotRead(f"not done in {self.timeout_seconds:g} s")
            return read.decode()
        except (OSError, http.client.HTTPException) as error:
            raise NotRead(str(getattr(error, "reason", None) or error or type(error).__name__)) from error
        except UnicodeDecodeError as error:
            raise NotRead("the answer is no UTF-8") from error


def points(text: str, instance: str) -> list[Point]:
    """The samples of Prometheus' text form, those with the same labels as one point; `NotRead` for another form."""
    found: defaultdict[tuple[tuple[str, str], ...], Fields] = defaultdict(dict)
    try:
        for sample in _samples(text):
            found[tuple(sorted(sample.labels.items()))][sample.name] = sample.value
    except (ValueError, KeyError, IndexError) as error:
        raise NotRead(f"the answer is not in Prometheus' text form: {error}") from error
    return [Point(MEASUREMENT, fields, {**dict(labels), "instance": instance}) for labels, fields in found.items()]


def _samples(text: str) -> Iterable[Sample]:
    for family in text_string_to_metric_families(text):
        yield from family.samples
