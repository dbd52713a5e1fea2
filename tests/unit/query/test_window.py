from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from query.parameters import Matcher, check_encoding, from_json, from_query, parse
from query.steps import CalendarWindows, FixedWindows
from query.window import AggregateRequest, Measure
from service.errors import BadRequest

LONG = 256 * 1024
NOW = datetime(2026, 11, 22, 8, 30, tzinfo=UTC)


def ask(**parameters: Any) -> AggregateRequest:
    """A request for `cpu.usage_user` with these parameters."""
    return parse(AggregateRequest, {"metric": "cpu.usage_user", **parameters}, NOW)


def refused(**parameters: Any) -> BadRequest:
    """The refusal of a request with these parameters."""
    with pytest.raises(BadRequest) as refusal:
        ask(**parameters)
    return refusal.value


def test_defaults() -> None:
    """A metric alone is its average over the last hour, all series together."""
    request = ask()
    assert request.metric == ("cpu.usage_user",)
    assert request.fn == ("avg",)
    assert request.by == ()
    assert (request.start, request.end) == (NOW - timedelta(hours=1), NOW)
    assert request.step is None
    assert request.match == ()
    assert request.resolution == "auto"
    assert (request.fill, request.order, request.limit, request.tz) == ("none", None, None, None)
    assert request.windows is None
    assert not request.is_ranked


def test_start_follows_end() -> None:
    """Without a start, the range is the hour before the end, wherever that is."""
    request = ask(end="2026-01-01T00:00:00Z")
    assert request.start == datetime(2025, 12, 31, 23, tzinfo=UTC)


def test_a_query_string_and_json_mean_the_same() -> None:
    """The same names and values in both forms make the same request."""
    pairs = [("metric", "cpu.usage_user"), ("metric", "cpu.usage_idle"), ("fn", "avg,max"), ("fn", "min")]
    pairs += [("by", "host, region"), ("start", "-2h"), ("end", "1795334400"), ("step", "5m")]
    pairs += [("match", "host=web-1"), ("match", "region!~eu|us")]
    body = b"""{"metric": ["cpu.usage_user", "cpu.usage_idle"], "fn": ["avg", "max", "min"], "by": ["host", "region"],
        "start": "-2h", "end": 1795334400, "step": "5m", "match": ["host=web-1", "region!~eu|us"], "fill": null}"""
    from_get = parse(AggregateRequest, from_query(AggregateRequest, pairs), NOW)
    assert from_get == parse(AggregateRequest, from_json(body), NOW)
    assert from_get.fn == ("avg", "max", "min")
    assert from_get.match == (Matcher("host", "=", "web-1"), Matcher("region", "!~", "eu|us"))


def test_one_text_stands_for_a_list_in_json() -> None:
    """A list of one may be written as a text, as in a query string."""
    request = parse(AggregateRequest, {"metric": "a.b", "fn": "min,max", "by": "x,y", "match": "k=v"}, NOW)
    assert (request.fn, request.by, request.match) == (("min", "max"), ("x", "y"), (Matcher("k", "=", "v"),))


def test_a_list_in_json_is_taken_as_it_is() -> None:
    """A tag whose name has a comma can be asked for in a JSON list."""
    assert ask(by=["a,b"]).by == ("a,b",)


def test_repeated_values_count_once() -> None:
    """Asking twice for the same is asking once: the answer has one place for it."""
    request = parse(AggregateRequest, {"metric": ["a.b", "a.b"], "fn": "avg,avg", "by": "x,x"}, NOW)
    assert (request.metric, request.fn, request.by) == (("a.b",), ("avg",), ("x",))


@pytest.mark.parametrize(
    ("text", "matcher"),
    [
        ("host=web-1", Matcher("host", "=", "web-1")),
        ("host!=web-1", Matcher("host", "!=", "web-1")),
        ("host=~web-.*", Matcher("host", "=~", "web-.*")),
        ("host!~web-.*", Matcher("host", "!~", "web-.*")),
        ("host=", Matcher("host", "=", "")),
        ("path=a=b", Matcher("path", "=", "a=b")),
        ("wow!=~b", Matcher("wow", "!=", "~b")),
        ("a!b=c", Matcher("a!b", "=", "c")),
        ("a!!b!~c", Matcher("a!!b", "!~", "c")),
        ("url=~http://.*!=", Matcher("url", "=~", "http://.*!=")),
        ("tag with space=x\ny", Matcher("tag with space", "=", "x\ny")),
        (r"a\b\\c\=d\=\\e", Matcher("a\\b\\\\c\\", "=", r"d\=\\e")),
    ],
)
def test_a_matcher_is_split_at_its_first_operator(text: str, matcher: Matcher) -> None:
    """What follows the first operator is the value, whatever it holds; a backslash is a character as any other."""
    assert ask(match=text).match == (matcher,)


def test_tags_with_commas_stand_in_a_list() -> None:
    """In a text commas part them, and nothing escapes one; the members of a list are taken as they are."""
    assert ask(by=r"a\,b=c, d").by == ("a\\", "b=c", "d")
    assert ask(by=["a,b", r"c\,d", " e"]).by == ("a,b", r"c\,d", " e")


@pytest.mark.parametrize(
    ("parameters", "name", "words"),
    [
        ({"metric": []}, "metric", "at least one is needed"),
        ({"metric": ""}, "metric", "not measurement.field"),
        ({"metric": "cpu"}, "metric", "'cpu' is not measurement.field"),
        ({"metric": ".cpu"}, "metric", "not measurement.field"),
        ({"metric": "cpu."}, "metric", "not measurement.field"),
        ({"metric": 5}, "metric", "neither a text nor a list of texts"),
        ({"metric": [5]}, "metric", "not a text"),
        ({"metric": "a.b\0"}, "metric", "NUL"),
        ({"metric": "a." + "b" * 200}, "metric", "longer than any name"),
        ({"fn": "mean"}, "fn", "'mean' is not known; allowed: avg, min, max"),
        ({"fn": "p101"}, "fn", "'p101' is not known; allowed: avg, "),
        ({"fn": "p" + "9" * 200}, "fn", "9...' is not known"),
        ({"fn": ""}, "fn", "at least one is needed"),
        ({"by": [""]}, "by", "empty"),
        ({"by": "a\0"}, "by", "NUL"),
        ({"by": {"host": 1}}, "by", "neither a text nor a list"),
        ({"start": "yesterday"}, "start", "'yesterday' is not a time; allowed: RFC 3339"),
        ({"end": "later"}, "end", "'later' is not a time"),
        ({"start": "-1h", "end": "-2h"}, "start", "is not before end, 2026-11-22T06:30:00Z"),
        ({"start": "now"}, "start", "is not before end"),
        ({"start": True}, "start", "not a time"),
        ({"step": "5"}, "step", "'5' is not a step; allowed: a whole number"),
        ({"step": "0s"}, "step", "is not a step"),
        ({"match": "host"}, "match", "'host' is not a matcher; allowed: tag=value"),
        ({"match": "=x"}, "match", "is not a matcher"),
        ({"match": ["a=b", 7]}, "match", "'7' is not a matcher"),
        ({"match": "a=\0"}, "match", "NUL"),
        ({"step": "1M"}, "step", "'1M' is not a step"),
        ({"step": "7700mo"}, "step", "longer than all the time there is"),
        ({"fill": "linear"}, "fill", "'linear' fills windows, and there are none without a step; allowed: none"),
        ({"fill": "zero", "step": "1m"}, "fill", "'zero' is not known; allowed: none, null, previous, linear, or a"),
        ({"fill": "nan", "step": "1m"}, "fill", "'nan' is not known"),
        ({"fill": "1e999", "step": "1m"}, "fill", "'1e999' is not known"),
        ({"fill": True, "step": "1m"}, "fill", "True is not known"),
        ({"fill": [0], "step": "1m"}, "fill", "[0] is not known"),
        ({"resolution": ""}, "resolution", "empty"),
        ({"resolution": 5}, "resolution", "not a text"),
        ({"tz": "Berlin"}, "tz", "'Berlin' is not a time zone; allowed: a name of the IANA time zone database"),
        ({"tz": "../../etc/passwd"}, "tz", "is not a time zone"),
        ({"tz": "a\0"}, "tz", "is not a time zone"),
        ({"tz": 5}, "tz", "'5' is not a time zone"),
        ({"order": "up"}, "order", "'up' is not known; allowed: asc, desc"),
        ({"order_by": "avg"}, "order_by", "'avg' is not fn(metric); allowed: fn(metric), one of those asked for"),
        ({"order_by": "max(cpu.usage_user)"}, "order_by", "is not asked for; allowed: a fn and a metric of the"),
        ({"order_by": "avg(cpu.x)"}, "order_by", "'avg(cpu.x)' is not asked for"),
        ({"limit": 0}, "limit", "0 is not above 0; allowed: a whole number above 0"),
        ({"limit": "many"}, "limit", "'many' is not a whole number; allowed: a whole number above 0"),
        ({"limit": 1.5}, "limit", "not a whole number"),
        ({"limit": "1_0"}, "limit", "not a whole number"),
        ({"limit": True}, "limit", "not a whole number"),
        ({"limit": [1]}, "limit", "not a whole number"),
        ({"limit": "9" * 5000}, "limit", "not a whole number"),
        ({"stepp": "5m"}, "stepp", "there is no such parameter; allowed: metric, fn, by, "),
    ],
)
def test_a_fault_names_its_parameter_and_what_is_allowed(parameters: dict[str, Any], name: str, words: str) -> None:
    """A refusal begins with the parameter, and says what is wrong and what is allowed."""
    refusal = refused(**parameters)
    assert refusal.status == 400
    assert refusal.message.startswith(f"{name}: ")
    assert words in refusal.message
    assert refusal.details["parameter"] == name


@pytest.mark.parametrize(
    ("written", "fill"),
    [("none", "none"), ("null", "null"), ("linear", "linear"), ("0", 0.0), ("-1.5e3", -1500.0), (7, 7.0), (0.5, 0.5)],
)
def test_a_fill_is_a_word_or_a_number(written: object, fill: object) -> None:
    """Numbers may be texts, as in a query string."""
    assert ask(step="1m", fill=written).fill == fill


def test_a_step_and_a_zone_are_windows() -> None:
    """Windows of days and longer follow the zone's calendar, and shorter ones are the same in every zone."""
    berlin = ZoneInfo("Europe/Berlin")
    assert ask(step="1h", tz="Europe/Berlin").windows == ask(step="1h").windows == FixedWindows(timedelta(hours=1))
    assert ask(step="1d").windows == FixedWindows(timedelta(days=1))
    assert ask(step="1d", tz="Europe/Berlin").windows == CalendarWindows(1, 0, berlin)
    assert ask(step="2w", tz="Europe/Berlin").windows == CalendarWindows(14, 0, berlin)
    assert ask(step="1y", tz="Europe/Berlin").windows == CalendarWindows(0, 12, berlin)
    assert ask(step="3mo").windows == CalendarWindows(0, 3, ZoneInfo("UTC"))


def test_series_are_ordered_by_a_number_of_theirs() -> None:
    """By the first of those asked for unless another is named; a limit alone is about the top."""
    request = ask(fn="avg,p99.9", by="host", limit="5", step="1m")
    assert request.order_by == Measure("cpu.usage_user", "avg")
    assert request.is_ranked
    assert ask(by="host", order="desc").ranking is None
    request = ask(fn="avg,p99.9", by="host", order="asc", order_by="p99.9(cpu.usage_user)", step="1m", fill="null")
    assert request.order_by == Measure("cpu.usage_user", "p99.9")
    ranking = request.ranking
    assert ranking is not None
    assert (ranking.fn, ranking.step, ranking.fill, ranking.by) == (("p99.9",), None, "none", ("host",))
    assert parse(AggregateRequest, {"metric": "a.b)(c", "order_by": "avg(a.b)(c)"}, NOW).order_by.metric == "a.b)(c"


def test_without_tags_there_is_nothing_to_order() -> None:
    """One series is in order."""
    assert not ask(order="desc", limit=3).is_ranked


def test_all_faults_are_told_at_once() -> None:
    """Several faults make one message, and each parameter is told once."""
    message = refused(fn="x,y,z", start="a", unknown="1").message
    assert message.count("fn: ") == message.count("start: ") == message.count("unknown: ") == 1


def test_of_many_faults_some_are_told() -> None:
    """A body may have any number of parameters that there are not: the message does not grow with it."""
    message = refused(**{f"x{number}": 1 for number in range(5000)}).message
    assert message.startswith("x0: there is no such parameter")
    assert message.count("there is no such parameter") == 10
    assert message.endswith("; and 4990 more")


def test_an_unknown_parameter_is_told_to_be_unknown_however_often_it_is_given() -> None:
    """To give it once would not be right either."""
    data = from_query(AggregateRequest, [("metric", "a.b"), ("colour", "red"), ("colour", "blue")])
    with pytest.raises(BadRequest, match="colour: there is no such parameter"):
        parse(AggregateRequest, data, NOW)
    with pytest.raises(BadRequest, match="format: given 2 times"):
        from_query(AggregateRequest, [("format", "csv"), ("format", "json")])


@pytest.mark.parametrize("url", ["/a", "/a?match=host=%C3%BC&x=%", "/%E2%82%AC/b?c=100%", "/a?b=%zz"])
def test_percent_encoded_utf_8_is_text(url: str) -> None:
    """A sign that begins no code stands for itself."""
    check_encoding(url)


@pytest.mark.parametrize(
    ("url", "part"),
    [
        ("/a?metric=cpu.user&match=host=%FF", "match=host=%FF"),
        ("/tags/%C3/values?limit=5", "/tags/%C3/values"),
        ("/a?%ED%A0%80=1", "%ED%A0%80=1"),
    ],
)
def test_what_is_percent_encoded_and_no_utf_8_is_refused(url: str, part: str) -> None:
    """Read as another text it would be answered with what nobody asked for."""
    with pytest.raises(BadRequest, match="is not UTF-8; allowed: ") as refusal:
        check_encoding(url)
    assert refusal.value.message.startswith(repr(part))


@pytest.mark.parametrize("url", ["/a?metric=cpu.user&match=host=web#1&fn=max", "/a#?metric=cpu.user", "/a?b=1#"])
def test_what_stands_after_a_number_sign_is_not_left_out(url: str) -> None:
    """It would be taken for no part of the question, which others would be the answer to."""
    with pytest.raises(BadRequest, match="allowed: %23 in its place"):
        check_encoding(url)


def test_a_metric_is_required() -> None:
    """Without a metric there is nothing to aggregate."""
    with pytest.raises(BadRequest, match=r"metric: required; allowed: measurement\.field"):
        parse(AggregateRequest, {}, NOW)


def test_a_single_value_is_given_once() -> None:
    """A parameter with one value that comes twice is refused, not guessed."""
    with pytest.raises(BadRequest, match="start: given 2 times, allowed is once"):
        from_query(AggregateRequest, [("start", "-1h"), ("start", "-2h")])


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b'"x"', b"1", b"null", b"\xff\xfe", b'{"a": NaN}'])
def test_a_body_that_is_no_object_is_refused(body: bytes) -> None:
    """Only a JSON object has parameters."""
    with pytest.raises(BadRequest, match="the body is not"):
        from_json(body)


@pytest.mark.parametrize(
    "parameters",
    [{"fill": "-" + "1" * LONG + "h"}, {"order_by": "a" * LONG}, {"step": "1" * LONG}, {"match": "=" * LONG}],
    ids=lambda parameters: next(iter(parameters)),
)
def test_long_rubbish_is_refused_at_once(parameters: dict[str, Any]) -> None:
    """No text takes longer to be looked at than in proportion to its length: these would take minutes and hours."""
    with pytest.raises(BadRequest):
        parse(AggregateRequest, {"metric": "a.b", "step": "1h", **parameters}, NOW)


@pytest.mark.parametrize("name", ["metric", "fn", "by", "match", "position"])
def test_a_long_list_is_refused_before_it_is_looked_at(name: str) -> None:
    """As a list; of what may be written with commas, as a text too."""
    written = [["x"] * 1001, ",".join("x" * 1001)] if name in ("fn", "by") else [["x"] * 1001]
    for value in written:
        with pytest.raises(BadRequest, match=f"^{name}: 1001 given; allowed: at most 1000$"):
            parse(AggregateRequest, {"metric": "a.b", name: value}, NOW)


@given(
    st.dictionaries(
        st.sampled_from([*AggregateRequest.model_fields, "x"]),
        st.one_of(st.text(), st.integers(), st.floats(), st.none(), st.lists(st.text() | st.integers()), st.booleans()),
    )
)
def test_any_parameters_are_a_request_or_a_refusal(parameters: dict[str, Any]) -> None:
    """Whatever is sent, the result is a valid request or a BadRequest that names a parameter."""
    try:
        request = parse(AggregateRequest, parameters, NOW)
    except BadRequest as error:
        refusal = error
    else:
        assert request.start < request.end
        return
    assert refusal.message.startswith(refusal.details["parameter"])
