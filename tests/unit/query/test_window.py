from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from query.parameters import Matcher, from_json, from_query, parse
from query.window import AggregateRequest
from service.errors import BadRequest

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
        ("url=~http://.*!=", Matcher("url", "=~", "http://.*!=")),
        ("tag with space=x\ny", Matcher("tag with space", "=", "x\ny")),
    ],
)
def test_a_matcher_is_split_at_its_first_operator(text: str, matcher: Matcher) -> None:
    """What follows the first operator is the value, whatever it holds."""
    assert ask(match=text).match == (matcher,)


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
        ({"fn": "median"}, "fn", "not available yet"),
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
        ({"fill": "linear"}, "fill", "'linear' is not known; allowed: none (null, previous, linear"),
        ({"resolution": "1h"}, "resolution", "'1h' is not known; allowed: auto, raw"),
        ({"tz": "Europe/Berlin"}, "tz", "not available yet"),
        ({"order": "desc"}, "order", "not available yet"),
        ({"limit": 5}, "limit", "not available yet"),
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


def test_all_faults_are_told_at_once() -> None:
    """Several faults make one message, and each parameter is told once."""
    message = refused(fn="x,y,z", start="a", unknown="1").message
    assert message.count("fn: ") == message.count("start: ") == message.count("unknown: ") == 1


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


@given(
    st.dictionaries(
        st.sampled_from([*AggregateRequest.model_fields, "tz", "x"]),
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
