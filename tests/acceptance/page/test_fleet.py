"""The fleet: the agent's real host, thousands of hosts, silent ones, and names that mean harm."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator

import pytest
from playwright.sync_api import Page, expect

from tests.acceptance.page.conftest import OpenTab, Site, opened_site

HOSTS = 5000
NAMES = [f"node-{number:04}" for number in range(1, HOSTS + 1)]
HARMFUL = "<img src=x onerror=\"document.title='harmed'\">&amp;'"
SILENT = "went-away"
GONE = "went-long-ago"


@pytest.fixture(scope="module")
def known(server_url: str, template: str) -> Iterator[Site]:
    """5,000 hosts and one with a harmful name, of which nothing has been heard for a while, and one gone for long."""
    with opened_site(server_url, template) as site:
        site.start("ingest")
        site.start("query")
        now = int(time.time())
        push_cpu(site, now - 1200)
        site.push([point("system", HARMFUL, now, load1=0.5)])
        site.push([point("mem", GONE, now - 3 * 86_400, used_percent=50)])
        yield site


@pytest.fixture
def fleet(known: Site) -> Site:
    """All of them but the last have just sent, busier the higher their number; one more is silent for an hour.

    Each test has numbers of its own: those of an earlier one, on a slow machine, may be from too long ago.
    """
    now = int(time.time())
    for ago in (5, 65):
        push_cpu(known, now - ago)
    known.push([point("mem", host, now, used_percent=number % 100) for number, host in enumerate(NAMES, 1)])
    known.push([point("mem", SILENT, now - 3600, used_percent=50)])
    return known


def push_cpu(site: Site, moment: int) -> None:
    """What all of them but the silent ones send of their CPU."""
    idle = {host: 100 - 95 * number / HOSTS for number, host in enumerate(NAMES, 1)} | {HARMFUL: 99.0}
    site.push([point("cpu", host, moment, {"cpu": "cpu-total"}, usage_idle=share) for host, share in idle.items()])


def point(
    measurement: str, host: str, seconds: int, tags: dict[str, str] | None = None, **fields: float
) -> dict[str, object]:
    """A point as ingest takes it."""
    return {"measurement": measurement, "tags": {"host": host, **(tags or {})}, "fields": fields, "time": seconds}


def names(page: Page) -> list[str]:
    """The hosts of the table's page, in their order."""
    return page.locator("tbody th").all_inner_texts()


def place(page: Page) -> str:
    """What the table says of its page."""
    return page.locator(".pager [role=status]").inner_text()


def test_thousands_of_hosts_stay_usable(fleet: Site, open_tab: OpenTab) -> None:
    """Sorted by load at first, 50 rows at a time; turned, sorted, filtered and enlarged, with the totals above."""
    page = open_tab(fleet.url)
    first = page.locator("tbody tr").first
    expect(first.locator("th")).to_have_text("node-5000")
    expect(first.locator("td").first).to_have_text("95.0 %")
    assert (len(names(page)), place(page)) == (50, f"1 to 50 of {HOSTS + 3:,}")
    page.get_by_role("button", name="Next page").click()
    assert (names(page)[0], place(page)) == ("node-4950", "51 to 100 of 5,003")
    page.get_by_role("button", name="Last page").click()
    assert (place(page), names(page)[-2:]) == ("5,001 to 5,003 of 5,003", [SILENT, GONE])
    page.get_by_role("button", name="Host", exact=True).click()
    assert names(page)[:2] == [HARMFUL, "node-0001"]
    expect(page.locator("th[aria-sort=ascending]")).to_have_text("Host")
    page.get_by_role("button", name="Host", exact=True).click()
    assert names(page)[:2] == [GONE, SILENT]
    page.get_by_label("Host", exact=True).fill("NODE-49")
    assert place(page) == "1 to 50 of 100"
    page.get_by_label("Rows").select_option("500")
    assert (len(names(page)), place(page)) == (100, "1 to 100 of 100")
    page.get_by_label("Host", exact=True).fill("nobody")
    assert (names(page), place(page)) == ([], "None")


def test_hosts_that_went_silent_are_told_apart(fleet: Site, open_tab: OpenTab) -> None:
    """A host without a point for two minutes is counted, listed by itself, and says for how long; the longest first."""
    page = open_tab(fleet.url)
    facts = page.locator(".summary")
    expect(facts).to_contain_text("5,003")
    page.get_by_label("Show").select_option("silent")
    expect(page.locator("tbody tr.silent")).to_have_count(2)
    expect(page.locator("tbody tr")).to_have_count(2)
    page.get_by_role("button", name="Last seen").click()
    page.get_by_role("button", name="Last seen").click()
    assert names(page) == [GONE, SILENT]
    gone, silent = page.locator("tbody td:last-child").all_inner_texts()
    assert gone == "silent, over 24 h"
    assert re.fullmatch(r"silent, 6\d min", silent)


def test_what_is_looked_at_is_in_the_address(fleet: Site, open_tab: OpenTab) -> None:
    """The part of a name, the order, the page and its size outlast a look at a host, and can be sent to somebody."""
    page = open_tab(fleet.url)
    expect(page.locator("tbody tr")).to_have_count(50)
    page.get_by_role("button", name="Next page").click()
    page.get_by_label("Host", exact=True).fill("node-4")
    assert place(page) == "1 to 50 of 1,000"
    page.get_by_role("button", name="Memory").click()
    page.get_by_label("Rows").select_option("100")
    page.get_by_role("button", name="Next page").click()
    seen = names(page)
    page.get_by_role("link", name=seen[0], exact=True).click()
    page.get_by_label("1 hour").check(force=True)
    page.reload()
    expect(page.get_by_label("1 hour")).to_be_checked()
    page.go_back()
    expect(page.locator("tbody tr")).to_have_count(100)
    assert (names(page), place(page)) == (seen, "101 to 200 of 1,000")
    expect(page.get_by_label("Host", exact=True)).to_have_value("node-4")
    page.get_by_role("navigation", name="Views").get_by_role("link", name="Fleet").click()
    expect(page.locator(".pager [role=status]")).to_have_text("1 to 50 of 5,003")


def test_hosts_of_one_value_stand_by_their_names(fleet: Site, open_tab: OpenTab) -> None:
    """In both directions, and whatever the order was before: so new numbers, which are sorted afresh, move no row."""
    page = open_tab(fleet.url)
    expect(page.locator("tbody tr")).to_have_count(50)
    page.get_by_label("Host", exact=True).fill("node-4")
    assert names_when_chosen(page, "Host", "Host", "Memory")[:11] == [f"node-4{n}99" for n in range(10)] + ["node-4098"]
    assert names_when_chosen(page, "Host", "Memory", "Memory")[:11] == [f"node-4{n}00" for n in range(10)] + [
        "node-4001"
    ]


def names_when_chosen(page: Page, *labels: str) -> list[str]:
    """The hosts of the page after these columns were chosen, so soon after each other that nothing is drawn between."""
    choose = """labels => {
        const buttons = [...document.querySelectorAll("thead button")];
        labels.forEach((label) => buttons.find((button) => button.innerText === label).click());
        return [...document.querySelectorAll("tbody th")].map((cell) => cell.innerText);
    }"""
    found: list[str] = page.evaluate(choose, list(labels))
    return found


def test_the_button_that_was_pressed_keeps_the_focus(fleet: Site, open_tab: OpenTab) -> None:
    """At the last page there is no next one; who goes by keyboard stays where they were."""
    page = open_tab(fleet.url)
    last = page.get_by_role("button", name="Last page")
    expect(last).to_be_enabled()
    last.press("Enter")
    expect(page.get_by_role("button", name="Next page")).to_be_disabled()
    expect(last).to_be_disabled()
    expect(last).to_be_focused()


def test_columns_that_nobody_fills_are_left_out(fleet: Site, open_tab: OpenTab) -> None:
    """No host here has sent a disk, so there is neither a column nor a sum of it; what one host has is a column."""
    page = open_tab(fleet.url)
    expect(page.get_by_role("columnheader", name="Load")).to_be_visible()
    expect(page.get_by_role("columnheader", name="Disk")).to_be_hidden()
    expect(page.locator(".summary")).to_contain_text("memory, mean")
    expect(page.get_by_text("fullest disk")).to_be_hidden()


def test_a_hosts_name_is_only_ever_text(fleet: Site, open_tab: OpenTab) -> None:
    """A name that is markup and script is shown as it is, in the table, as a title, and in the explorer."""
    page = open_tab(fleet.url)
    page.get_by_label("Host", exact=True).fill("<img")
    link = page.get_by_role("link", name=HARMFUL)
    expect(link).to_have_text(HARMFUL)
    link.click()
    expect(page.get_by_role("heading", level=1)).to_have_text(HARMFUL)
    expect(page.locator(".chart").first).to_be_visible()
    page.get_by_role("link", name="cpu", exact=True).click()
    expect(page.locator(".answer tbody tr").first).to_contain_text(HARMFUL)
    assert page.locator("img").count() == 0
    assert "harmed" not in page.title()


def test_thousands_of_hosts_are_explored_together(fleet: Site, open_tab: OpenTab) -> None:
    """A curve for each would be more than an answer may have, so that nothing is grouped by unless somebody says so."""
    page = open_tab(f"{fleet.url}#/explore?measurement=cpu")
    expect(page.get_by_role("figure").first).to_be_visible()
    boxes = page.get_by_role("group", name="Group by")
    expect(boxes.get_by_label("host", exact=True)).not_to_be_checked()
    few = open_tab(f"{fleet.url}#/explore?measurement=system")
    expect(few.get_by_role("group", name="Group by").get_by_label("host", exact=True)).to_be_checked()
