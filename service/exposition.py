"""Prometheus' text form: the instruments of several processes as one text.

The form: https://prometheus.io/docs/instrumenting/exposition_formats/#text-based-format
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

HEADS = ("# HELP ", "# TYPE ")


@dataclass
class _Family:
    heads: dict[str, str] = field(default_factory=dict)
    """The lines that describe it, by their kind."""
    samples: list[str] = field(default_factory=list)


def merged(texts: Mapping[str, str], label: str) -> str:
    """One text with the samples of all `texts`, each with its text's key as the value of one more label.

    Nothing is added up. The samples of a family stand together, after one HELP and one TYPE, the first met. The texts
    are as prometheus-client writes them, with heads before a family's samples; none of their samples has `label` yet,
    and the keys are such that nothing in them needs escaping.
    """
    families: dict[str, _Family] = {}
    for key, text in texts.items():
        pair = f'{label}="{key}"'
        family = _Family()
        for line in text.splitlines():
            if line.startswith(HEADS):
                _, kind, name, *_ = line.split(" ", 3)
                family = families.setdefault(name, _Family())
                family.heads.setdefault(kind, line)
            elif line:
                family.samples.append(_labelled(line, pair))
    lines = [line for family in families.values() for line in (*family.heads.values(), *family.samples)]
    return "".join(f"{line}\n" for line in lines)


def _labelled(sample: str, pair: str) -> str:
    """A sample with one more label, before its others; a name has neither braces nor spaces."""
    name, _, rest = sample.partition(" ")
    if "{" not in name:
        return f"{name}{{{pair}}} {rest}"
    name, _, rest = sample.partition("{")
    return f"{name}{{{pair},{rest}"
