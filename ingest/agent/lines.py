r"""Points as InfluxDB's line protocol: `mem,host=web-1 used=1024i,used_percent=12.5 1700000000000000000`.

What cannot be written in that protocol becomes the same as with Telegraf (plugins/serializers/influx there):
white space in a tag is spelled as \n or \t, backslashes at a tag's end are cut, an empty tag and a field that
is not finite are left out.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping

from ingest.agent.points import Point

_MEASUREMENT = str.maketrans({"\t": r"\t", "\n": r"\n", "\f": r"\f", "\r": r"\r", ",": r"\,", " ": r"\ "})
_KEY = {**_MEASUREMENT, **str.maketrans({"=": r"\="})}


def encode(points: Iterable[Point], tags: Mapping[str, str], time_ns: int) -> bytes:
    """A line for each point, with `tags` (its own tag of the same key wins) and the time `time_ns`."""
    lines = (_line(point, {**tags, **point.tags}, time_ns) for point in points)
    # A path or a device may be named in bytes that are no UTF-8: those become question marks.
    return "".join(lines).encode("utf-8", "replace")


def _line(point: Point, tags: Mapping[str, str], time_ns: int) -> str:
    fields = ",".join(
        f"{key.translate(_KEY)}={_number(value)}" for key, value in point.fields.items() if math.isfinite(value)
    )
    if not fields:
        return ""
    pairs = ((_tag(key), _tag(value)) for key, value in sorted(tags.items()))
    head = "".join(f",{key}={value}" for key, value in pairs if key and value)
    return f"{point.measurement.translate(_MEASUREMENT)}{head} {fields} {time_ns}\n"


def _tag(text: str) -> str:
    return text.translate(_KEY).rstrip("\\")


def _number(value: float) -> str:
    return f"{value}i" if isinstance(value, int) else repr(value)
