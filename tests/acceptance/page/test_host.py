"""A host's page: many cores, measurements of any kind, and a chart library that comes late."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest
from playwright.sync_api import Locator, Page, Route, expect

from tests.acceptance.page.conftest import OpenTab, Site, opened_site

CORES = 16
AGES = range(30, 630, 30)
"""Of points, in seconds; of the window of now, which tests push to, there is none yet."""
BIG = "big-1"
CHANGING = "big-2"
SHOP = "shop-1"
LABEL = ".legend button span:nth-child(2)"


@pytest.fixture(scope="module")
def hosts(server_url: str, template: str) -> Iterator[Site]:
    """A host with many cores, the later the busier, and one that sends nothing of what Telegraf does."""
    with opened_site(server_url, template) as site:
        site.start("ingest")
        site.start("query")
        now = int(time.time())
        points = cores_of(BIG, now)
        for ago in AGES:
            points.append(point("Memory", {"host": SHOP}, now - ago, **{f"field_{n}": n for n in range(1, 8)}))
            for queue in ("mail", "print"):
                points.append(point("jobs", {"host": SHOP, "queue": queue}, now - ago, waiting=len(queue)))
        site.push(points)
        yield site


def cores_of(host: str, now: int) -> list[dict[str, object]]:
    """What a host with many cores has sent until now, the later the busier."""
    return [
        point("cpu", {"host": host, "cpu": f"cpu{core}"}, now - ago, usage_idle=100 - 2 * core)
        for ago in AGES
        for core in range(CORES)
    ]


def point(measurement: str, tags: dict[str, str], seconds: int, **fields: float) -> dict[str, object]:
    """A point as ingest takes it."""
    return {"measurement": measurement, "tags": tags, "fields": fields, "time": seconds}


def chart(page: Page, title: str) -> Locator:
    """The figure that has a title."""
    return page.locator("figure", has=page.get_by_role("heading", name=title, exact=True))


def labels(figure: Locator) -> list[str]:
    """What the legend has, in its order."""
    return figure.locator(LABEL).all_inner_texts()


def test_the_highest_of_many_series_are_drawn(hosts: Site, open_tab: OpenTab) -> None:
    """Ten curves are those with the highest values, in the order of their numbers; the table has all series."""
    cores = chart(open_tab(f"{hosts.url}#/hosts/{BIG}"), "CPU by core")
    expect(cores.locator(".legend li")).to_have_count(10)
    assert labels(cores) == [f"cpu{core}" for core in range(CORES - 10, CORES)]
    assert "10 of 16 series" in cores.locator(".legend").evaluate("list => list.dataset.rest")
    cores.get_by_text("Table").click()
    expect(cores.locator("thead th")).to_have_text(["Time", *(f"cpu{core}" for core in range(CORES))])
    expect(cores.get_by_role("group", name="CPU by core, table")).to_be_visible()


def test_a_series_keeps_its_colour(hosts: Site, open_tab: OpenTab) -> None:
    """When another one becomes busier than it was, only that one takes a colour that has become free."""
    hosts.push(cores_of(CHANGING, int(time.time())))
    page = open_tab(f"{hosts.url}#/hosts/{CHANGING}")
    cores = chart(page, "CPU by core")
    expect(cores.locator(".legend li")).to_have_count(10)
    before = colours(cores)
    hosts.push([point("cpu", {"host": CHANGING, "cpu": "cpu0"}, int(time.time()), usage_idle=0)])
    expect(cores.locator(".legend button").first).to_contain_text("cpu0")
    after = colours(cores)
    assert len(set(after.values())) == 10
    assert {label: after[label] for label in after if label != "cpu0"} == {
        label: colour for label, colour in before.items() if label != "cpu6"
    }


def colours(figure: Locator) -> dict[str, str]:
    """The colour of each series."""
    swatches = figure.locator(".swatch").evaluate_all("all => all.map(one => getComputedStyle(one).backgroundColor)")
    return dict(zip(labels(figure), swatches, strict=True))


def test_any_measurement_is_drawn_where_nothing_else_is(hosts: Site, open_tab: OpenTab) -> None:
    """Whoever pushes what they like has a chart of each measurement, some of its fields, by its tags."""
    page = open_tab(f"{hosts.url}#/hosts/{SHOP}")
    expect(page.get_by_role("heading", level=2)).to_have_text(["Memory", "jobs", "Explore this host"])
    expect(chart(page, "Memory").locator(".legend li")).to_have_count(5)
    expect(chart(page, "Memory")).to_contain_text("5 of its 7 fields")
    expect(chart(page, "jobs").locator(LABEL)).to_have_text(["mail", "print"])
    expect(page.get_by_text("cores", exact=True)).to_be_hidden()
    hosts.push([point("jobs", {"host": SHOP, "queue": "mail"}, int(time.time()), waiting=99)])
    expect(chart(page, "jobs").locator(".legend")).to_contain_text("99")


def test_the_chart_library_may_come_late(hosts: Site, open_tab: OpenTab) -> None:
    """It did not load when the first chart was wanted: that is told, it is asked for again, and charts appear."""
    page = open_tab("about:blank", may_fail=True)
    refused: list[str] = []
    is_told = False

    def refuse(route: Route) -> None:
        if is_told and len(refused) >= 2:
            route.continue_()
        else:
            refused.append(route.request.url)
            route.abort()

    page.route("**/chart.bundle.js*", refuse)
    page.goto(f"{hosts.url}#/hosts/{BIG}")
    expect(page.get_by_role("alert")).to_contain_text("chart.bundle.js: did not load")
    is_told = True
    expect(chart(page, "CPU by core").get_by_role("img", name="cpu15")).to_be_visible()
    expect(page.get_by_role("alert")).to_be_hidden()
    assert len(set(refused)) == len(refused)
