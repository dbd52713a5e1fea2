"""The explorer: its chart, its table, its curl command and its SQL give the same answer."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import time
from collections.abc import Iterator
from datetime import datetime
from typing import Any
from urllib.parse import quote

import psycopg
import pytest
from playwright.sync_api import Page, Route, expect

from tests.acceptance.page.conftest import OpenTab, Site, opened_site, until

FUNCTIONS = ("avg", "min", "max", "sum", "count", "first", "last", "stddev", "median", "p90", "p99")
GROWTH = ("rate", "increase", "delta")
"""Functions that have a statement for each field."""
ODD = "odd \"name's %"
ODD_FIELD = 'Größe "%" '
ODD_TAG = "it's a tag"
RETRY_SECONDS = 3
"""Longer than the page would wait by itself."""


@pytest.fixture(scope="module")
def measured(server_url: str, template: str) -> Iterator[Site]:
    """Half an hour of two regions' hosts, and a measurement whose names need quotes everywhere."""
    with opened_site(server_url, template) as site:
        site.start("ingest")
        site.start("query")
        start = int(time.time()) // 600 * 600 - 2400
        points = []
        for minute in range(30):
            for number, region in enumerate(("eu", "eu", "us")):
                tags = {"host": f"web-{number}", "region": region}
                fields = {"usage_user": 10.5 * number + minute, "usage_system": minute / 3}
                points.append({"measurement": "cpu", "tags": tags, "fields": fields, "time": start + 60 * minute + 7})
                sent = {"bytes": 1000 * (minute % 20) + number}
                points.append({"measurement": "net", "tags": tags, "fields": sent, "time": start + 60 * minute + 7})
        points.append({"measurement": "cpu", "tags": {"region": "eu"}, "fields": {"usage_user": 1}, "time": start})
        points.append({"measurement": ODD, "tags": {ODD_TAG: "x'y"}, "fields": {ODD_FIELD: 4.5}, "time": start})
        site.push(points)
        yield site


def explored(site: Site, open_tab: OpenTab, **parameters: Any) -> Page:
    """The explorer with a question, answered."""
    pairs = [
        (name, one) for name, value in parameters.items() for one in (value if isinstance(value, list) else [value])
    ]
    page = open_tab(f"{site.url}#/explore?" + "&".join(f"{name}={quote(one)}" for name, one in pairs))
    expect(page.locator(".answer pre").last).to_contain_text("SELECT")
    return page


def shown(page: Page) -> list[list[str]]:
    """The cells of the table, all on one page; of numbers all digits, as pointing at them shows."""
    rows = page.locator(".answer .grid tbody tr").all()
    return sorted(
        [cell.get_attribute("title") or cell.inner_text() for cell in row.locator("th,td").all()] for row in rows
    )


def by_sql(site: Site, page: Page) -> list[list[str]]:
    """What the SQL gives to the role that reads, written as the table has it."""
    statement = page.get_by_role("region", name="SQL").locator("code").inner_text()
    options = "-c role=tidemark_query -c search_path=metrics,public -c TimeZone=UTC"
    with psycopg.connect(site.database, options=options) as connection:
        rows = connection.execute(statement.encode()).fetchall()
    return sorted([as_shown(value) for value in row] for row in rows)


def as_shown(value: Any) -> str:
    """A value of the database as the table writes it."""
    if value in (None, ""):
        return "–"
    if isinstance(value, datetime):
        return value.strftime("%Y-%m-%d %H:%M:%S")
    if isinstance(value, str):
        return value
    return format(float(value), ".17g")


def same(left: list[list[str]], right: list[list[str]]) -> bool:
    """Whether two tables are the same, numbers to twelve digits: sums may be added up in another order."""

    def rounded(text: str) -> object:
        try:
            return float(f"{float(text):.12g}")
        except ValueError:
            return text

    return [[rounded(cell) for cell in row] for row in left] == [[rounded(cell) for cell in row] for row in right]


@pytest.mark.parametrize("fn", FUNCTIONS)
def test_table_and_sql_agree(measured: Site, open_tab: OpenTab, fn: str) -> None:
    """For each function, two fields by tags in windows, a host that is not there included."""
    page = explored(
        measured, open_tab, measurement="cpu", field=["usage_user", "usage_system"], fn=fn, by="region,host", step="10m"
    )
    table = shown(page)
    assert len(table) == 3 * 3 + 1
    assert same(table, by_sql(measured, page))


@pytest.mark.parametrize("step", ["", "10m"])
@pytest.mark.parametrize("fn", GROWTH)
def test_table_and_sql_of_growth_agree(measured: Site, open_tab: OpenTab, fn: str, step: str) -> None:
    """A counter that was reset, several series in a group, and the point before each window."""
    page = explored(measured, open_tab, measurement="net", field="bytes", fn=fn, by="region", step=step)
    table = shown(page)
    assert len(table) == (2 * 3 if step else 2)
    assert same(table, by_sql(measured, page))


@pytest.mark.parametrize("fn", ["first", "last"])
def test_points_of_one_moment(measured: Site, open_tab: OpenTab, fn: str) -> None:
    """Of several series in a group that were measured at once, the SQL takes the same one as the service."""
    page = explored(
        measured, open_tab, measurement="cpu", field=["usage_user", "usage_system"], fn=fn, by="region", step="10m"
    )
    table = shown(page)
    assert len(table) == 3 * 2
    assert same(table, by_sql(measured, page))


def test_matchers_and_one_value(measured: Site, open_tab: OpenTab) -> None:
    """Matchers of each kind reach the answer, curl and the SQL alike; without a window there is no chart."""
    match = ["host=~web-[12]", "region!=us", "host!=nobody", "region!~a.*"]
    page = explored(measured, open_tab, measurement="cpu", field="usage_user", fn="max", by="", step="", match=match)
    assert shown(page) == by_sql(measured, page) == [["39.5"]]
    assert page.locator("figure").count() == 0
    if shutil.which("curl") is None:
        pytest.skip("the command is curl's, which is not installed")
    command = page.get_by_role("region", name="curl").locator("code").inner_text()
    done = subprocess.run(["bash", "-c", command.replace("curl ", "curl -sS ", 1)], capture_output=True, check=True)
    assert json.loads(done.stdout)["series"] == [{"tags": {}, "value": 39.5}]


def test_names_are_quoted(measured: Site, open_tab: OpenTab) -> None:
    """Quotes, spaces, percent signs and letters of any kind: table, curl and SQL take them as they are."""
    page = explored(measured, open_tab, measurement=ODD, by=ODD_TAG, step="", match=f"{ODD_TAG}=x'y")
    assert shown(page) == by_sql(measured, page) == [["x'y", "4.5"]]
    if shutil.which("curl") is not None:
        command = page.get_by_role("region", name="curl").locator("code").inner_text()
        done = subprocess.run(["bash", "-c", command], capture_output=True, check=True)
        assert json.loads(done.stdout)["series"] == [{"tags": {ODD_TAG: "x'y"}, "value": 4.5}]


def test_a_question_is_chosen_asked_and_kept(measured: Site, open_tab: OpenTab) -> None:
    """By keyboard and form; the address holds it, so that it can be shared and the way back works."""
    page = open_tab(f"{measured.url}#/explore")
    page.get_by_label("Measurement").select_option("cpu")
    expect(page.get_by_label("usage_user")).to_be_checked()
    page.get_by_label("usage_system").check()
    page.get_by_label("Function").select_option("min")
    page.get_by_label("Window").select_option("1m")
    page.get_by_label("host", exact=True).uncheck()
    page.get_by_label("region", exact=True).check()
    page.get_by_label("region", exact=True).press("Enter")
    expect(page.get_by_role("heading", name="cpu, min")).to_be_visible()
    expect(page.locator(".legend li")).to_have_count(4)
    assert "fn=min" in page.url
    page.get_by_label("Function").select_option("max")
    page.get_by_role("button", name="Show").click()
    expect(page.get_by_role("heading", name="cpu, max")).to_be_visible()
    page.go_back()
    expect(page.get_by_role("heading", name="cpu, min")).to_be_visible()
    expect(page.get_by_label("Function")).to_have_value("min")
    page.reload()
    expect(page.get_by_role("heading", name="cpu, min")).to_be_visible()


def test_the_focus_stays_where_it_was(measured: Site, open_tab: OpenTab) -> None:
    """Who asks by keyboard goes on from the box that they checked."""
    page = explored(measured, open_tab, measurement="cpu", field="usage_user")
    box = page.get_by_role("checkbox", name="usage_system")
    box.press("Space")
    box.press("Enter")
    expect(page.locator(".answer thead")).to_contain_text("avg usage_system")
    expect(box).to_be_focused()


def test_a_choice_that_is_made_meanwhile_stays(measured: Site, open_tab: OpenTab) -> None:
    """Names are asked for again with a question; a box that is checked before they come is part of it."""
    page = open_tab("about:blank")
    page.clock.install()
    page.goto(f"{measured.url}#/explore?measurement=cpu&field=usage_user")
    expect(page.locator(".answer thead")).to_contain_text("avg usage_user")
    page.clock.fast_forward("01:01")  # what is known of names is old by then
    held: list[Route] = []
    page.route("**/api/v1/measurements*", lambda route: held.append(route), times=1)
    with page.expect_request("**/api/v1/measurements*"):
        page.get_by_role("button", name="Show").click()
    box = page.get_by_role("checkbox", name="usage_system")
    box.check()
    held.pop().continue_()
    expect(page.locator(".answer thead")).to_contain_text("avg usage_system")
    expect(box).to_be_checked()


def test_what_is_not_there_is_told(measured: Site, open_tab: OpenTab) -> None:
    """An address may be older than what it names: nothing else is shown in its place."""
    page = open_tab(f"{measured.url}#/explore?measurement=gone&fn=max", may_fail=True)
    alert = page.get_by_role("alert").filter(has_text="gone")
    expect(alert).to_contain_text("There is no measurement gone")
    expect(page.locator(".answer table")).to_have_count(0)
    page.get_by_label("Measurement").select_option("net")
    expect(page.get_by_role("heading", name="net, max")).to_be_visible()
    page.goto(f"{measured.url}#/explore?measurement=cpu&field=gone")
    expect(alert).to_contain_text("GET api/v1/aggregate?metric=cpu.gone")
    expect(page.get_by_label("gone")).to_be_checked()


def test_what_an_answer_cannot_hold_is_told(measured: Site, open_tab: OpenTab) -> None:
    """Points are kept for two days; who asks for seven sees a part, and that it may be one."""
    with psycopg.connect(measured.database) as owner:
        owner.execute(
            "UPDATE catalog.retention SET retained = NULL, dropped_before = now() - interval '2 days' "
            "WHERE measurement_id = (SELECT id FROM catalog.measurement WHERE name = 'net')"
        )
    page = explored(measured, open_tab, measurement="net", start="-7d", step="1h")
    expect(page.locator(".answer .warn")).to_have_text(re.compile("^Warning: points before .* may be gone.$"))
    expect(page.locator(".answer tbody tr").first).to_be_visible()
    page = explored(measured, open_tab, measurement="net", start="-24h", step="1h")
    expect(page.locator(".answer .warn")).to_have_count(0)


def test_too_many_requests_are_no_fault_of_the_question(measured: Site, open_tab: OpenTab) -> None:
    """It is asked again by itself, when the service said that it may be."""
    page = open_tab("about:blank", may_fail=True)
    asked: list[float] = []
    is_told = False

    def refuse(route: Route) -> None:
        asked.append(time.monotonic())
        if is_told and len(asked) > 1:
            route.continue_()
        else:
            route.fulfill(status=429, json={"message": "too many"}, headers={"Retry-After": str(RETRY_SECONDS)})

    page.route("**/api/v1/aggregate*", refuse)
    page.goto(f"{measured.url}#/explore?measurement=cpu")
    expect(page.get_by_role("alert").filter(has_text="too many")).to_contain_text(re.compile(r"again in \d+ s"))
    is_told = True
    expect(page.locator(".answer tbody tr").first).to_be_visible()
    expect(page.locator("#contact")).to_contain_text("Live")
    assert asked[1] - asked[0] >= RETRY_SECONDS


def statements_before_a_lock(looker: psycopg.Connection) -> int:
    """How many statements of query's stand before a lock."""
    found = looker.execute(
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() "
        "AND application_name = 'tidemark query' AND wait_event_type = 'Lock'"
    ).fetchall()
    return int(found[0][0])


def test_another_question_does_not_wait_for_a_slow_one(measured: Site, open_tab: OpenTab) -> None:
    """It takes the place of the one under way, whose statement is cancelled."""
    # Who looks is in no transaction: one would always see the connections that there were at first.
    with psycopg.connect(measured.database) as owner, psycopg.connect(measured.database, autocommit=True) as looker:
        owner.execute("LOCK TABLE points.cpu IN ACCESS EXCLUSIVE MODE")
        page = open_tab(f"{measured.url}#/explore?measurement=cpu")
        until(lambda: statements_before_a_lock(looker) == 1)
        page.get_by_label("Measurement").select_option(ODD)
        expect(page.locator(".answer tbody tr")).to_contain_text("4.5")
        expect(
            page.get_by_role("checkbox", name=ODD_TAG)
        ).to_be_checked()  # what tells its series apart: it has no host
        until(lambda: statements_before_a_lock(looker) == 0)


def test_a_fault_of_the_question_is_told(measured: Site, open_tab: OpenTab) -> None:
    """The service's own words say what is wrong and what is allowed; a question without the fault is answered."""
    page = open_tab(f"{measured.url}#/explore?measurement=cpu&match=host", may_fail=True)
    fault = page.get_by_role("alert").filter(has_text="is not a matcher")
    expect(fault).to_contain_text("GET api/v1/aggregate?")
    expect(fault).to_contain_text("allowed: tag=value")
    page.get_by_label("Only where").fill("host=web-1")
    page.get_by_role("button", name="Show").click()
    expect(page.locator(".answer tbody tr").first).to_contain_text("web-1")
    expect(fault).to_have_count(0)
