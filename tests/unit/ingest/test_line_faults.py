"""Lines of line protocol that cannot be read, and where reading goes on behind them."""

from __future__ import annotations

import pytest

from tests.unit.ingest.conftest import TIGHT, Read


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("m", "expected a comma and a tag, or a space and a field, found the end of the body"),
        ("m ", "expected a field's key, found the end of the body"),
        (",k=v x=1", "expected a measurement, found ','"),
        ("m,=v x=1", "expected a tag's key after the comma, found '='"),
        ("m, x=1", "expected a tag's key after the comma, found ' '"),
        ("m,k x=1", "expected = after tag 'k', found ' '"),
        ("m,k= x=1", "expected a value after tag 'k', found ' '"),
        ("m,k=v,k=w x=1", "tag 'k' is given twice"),
        ("m,k=v", "expected a comma and a tag, or a space and a field, found the end of the body"),
        ("m,k=v=w x=1", "found '='"),
        ("m x", "expected = after field 'x', found the end of the body"),
        ("m =1", "expected a field's key, found '='"),
        ("m x=1,", "expected a field's key, found the end of the body"),
        ("m x=1, y=2", "expected a field's key, found ' '"),
        ('m x="abc', "field 'x': the string has no closing quote"),
        ('m x="abc"d', "expected a comma, a space or the end of the line after field 'x', found 'd'"),
        ("m x=1 abc", "expected a time in digits and the end of the line after the fields, found 'abc'"),
        ("m x=1 1.5", "expected a time in digits and the end of the line after the fields, found '1.5'"),
        ("m x=1 1 2", "found '1 2'"),
        ("m x=1 -", "found '-'"),
        ("m x=1\ry=2", "found '\\r'"),
        ("#\x01", "a comment holds a control character"),
        ("#a x=1 # \x01", "a comment holds a control character"),
        ("\rm x=1", "expected a measurement, found '\\r'"),
        (b"\xff x=1", "'\\\\xff' is not UTF-8"),
        (b"m,k=\xff x=1", "'\\\\xff' is not UTF-8"),
        (b"m \xff=1", "'\\\\xff' is not UTF-8"),
        (b'm x="\xff",y=1', "is not UTF-8"),
    ],
)
def test_faults(read_lines: Read, body: str | bytes, message: str) -> None:
    """What cannot be read is rejected, and the message says what was expected and what was found."""
    found = read_lines(body)
    assert found.reason.startswith("syntax: ")
    assert message in found.reason


def test_a_fault_costs_its_line_alone(read_lines: Read) -> None:
    """The lines around a bad one are taken, and the bad one is named by its number."""
    found = read_lines('m x=1\nbad\n\nm x=2,s="a\nb",y=?\nm x=3\nm x="open\nm x=4')
    assert [(point.place, point.fields["x"]) for point in found.points] == [(1, 1.0), (6, 3.0), (8, 4.0)]
    assert [place for place, _, _ in found.rejections] == [2, 4, 7]


@pytest.mark.parametrize(
    "line",
    [
        'm s="a\nevil x=1\n",x=bad',
        'm s="a\nevil x=1\n"z',
        'm x=NaN,s="a\nevil x=1\n" 5',
        r'm x=1e5.5,y=1,s="",t="\"' "\nevil x=1\n" r'",u="=\"' '\nevil x=1\n"',
        'm x=1, s="\nevil x=1\n"',
        f'm {"x" * 64}=1,s="\nevil x=1\n"',
        f'm {"x=1," * 10}s="\nevil x=1\n"',
    ],
)
def test_a_string_is_not_read_as_lines(read_lines: Read, line: str) -> None:
    """After a fault, reading goes on behind the strings of several lines that stand before it, or after it."""
    found = read_lines(f"{line}\nm x=1", limits=TIGHT)
    assert [(point.place, point.measurement) for point in found.points] == [(line.count("\n") + 2, "m")]
    assert [place for place, _, _ in found.rejections] == [1]
