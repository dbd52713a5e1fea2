"""The fleet: the agent's real host, thousands of hosts, silent ones, and names that mean harm."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest
from playwright.sync_api import Page, expect

from tests.acceptance.page.conftest import OpenTab, Site, opened_site

HOSTS = 5000
HARMFUL = "<img src=x onerror=\"document.title='harmed'\">&amp;'"
SILENT = "went-away"


@pytest.fixture(scope="module")
def fleet(server_url: str, template: str) -> Iterator[Site]:
    """5,000 hosts, the busier the higher their number; one with a harmful name, one that is silent for an hour."""
    with opened_site(server_url, template) as site:
        site.start("ingest")
        site.start("query")
        now = int(time.time())
        hosts = [f"node-{number:04}" for number in range(1, HOSTS + 1)]
        cpu = [(host, 100 - 95 * number / HOSTS) for number, host in enumerate(hosts, 1)] + [(HARMFUL, 99.0)]
        for ago in (5, 65, 1200):
            site.push([point("cpu", host, now - ago, {"cpu": "cpu-total"}, usage_idle=idle) for host, idle in cpu])
        site.push([point("mem", host, now, used_percent=number % 100) for number, host in enumerate(hosts, 1)])
        site.push([point("system", HARMFUL, now, load1=0.5)])
        site.push([point("mem", SILENT, now - 3600, used_percent=50)])
        yield site


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
    assert (len(names(page)), place(page)) == (50, f"1 to 50 of {HOSTS + 2:,}")
    page.get_by_role("button", name="Next page").click()
    assert (names(page)[0], place(page)) == ("node-4950", "51 to 100 of 5,002")
    page.get_by_role("button", name="Last page").click()
    assert (place(page), names(page)[-1]) == ("5,001 to 5,002 of 5,002", SILENT)
    page.get_by_role("button", name="Host", exact=True).click()
    assert names(page)[:2] == [HARMFUL, "node-0001"]
    expect(page.locator("th[aria-sort=ascending]")).to_have_text("Host")
    page.get_by_role("button", name="Host", exact=True).click()
    assert names(page)[:2] == [SILENT, "node-5000"]
    page.get_by_label("Host", exact=True).fill("NODE-49")
    assert place(page) == "1 to 50 of 100"
    page.get_by_label("Rows").select_option("500")
    assert (len(names(page)), place(page)) == (100, "1 to 100 of 100")
    page.get_by_label("Host", exact=True).fill("nobody")
    assert (names(page), place(page)) == ([], "None")


def test_hosts_that_went_silent_are_told_apart(fleet: Site, open_tab: OpenTab) -> None:
    """A host without a point for two minutes is counted, listed by itself, and says for how long."""
    page = open_tab(fleet.url)
    facts = page.locator(".summary")
    expect(facts).to_contain_text("5,002")
    page.get_by_label("Show").select_option("silent")
    expect(page.locator("tbody tr")).to_have_count(1)
    expect(page.locator("tbody tr.silent")).to_contain_text(SILENT)
    expect(page.locator("tbody td").last).to_have_text("silent, 60 min")


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
