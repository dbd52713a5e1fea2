"""Whom the page is for: any screen, either theme, a keyboard, a screen reader, a slow line."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page, Response, expect

from tests.acceptance.page.conftest import OpenTab, Site, opened_site

TRANSFERRED_BYTES = 300_000
HOSTS = 13
LONG = "x" * 255
VIEWS = {
    "fleet": ("#/", "tbody tr"),
    "host": ("#/hosts/web-2", "canvas"),
    "explorer": ("#/explore?measurement=cpu&field=usage_user&field=usage_system", ".answer tbody tr"),
}
"""Each view's address, and what it has when it is filled."""

each_view = pytest.mark.parametrize("view", VIEWS)


@pytest.fixture(scope="module")
def small(server_url: str, template: str) -> Iterator[Site]:
    """A dozen hosts with CPU, memory and load, one whose name is long, and a long name of a disk."""
    with opened_site(server_url, template) as site:
        site.start("ingest")
        site.start("query")
        now = int(time.time())
        points = []
        for number in range(HOSTS - 1):
            for ago in range(0, 600, 30):
                host = {"host": f"web-{number}"}
                cpu = {"usage_idle": 80.0 - number, "usage_user": 15.0 + number, "usage_system": 5.0}
                for name, tags, fields in (
                    ("cpu", {**host, "cpu": "cpu-total"}, cpu),
                    ("mem", host, {"used_percent": 8.3 * number, "used": 1e9 * number, "total": 16e9}),
                    ("system", host, {"load1": number / 3, "load5": 1.5, "load15": 1.0}),
                ):
                    points.append({"measurement": name, "tags": tags, "fields": fields, "time": now - ago})
        long_ago = now - 3 * 86_400
        points.append({"measurement": "mem", "tags": {"host": LONG}, "fields": {"used_percent": 99}, "time": long_ago})
        disk = {"host": "web-2", "path": f"/srv/{LONG}"}
        points.append({"measurement": "disk", "tags": disk, "fields": {"used_percent": 99}, "time": now})
        site.push(points)
        yield site


def filled(site: Site, open_tab: OpenTab, view: str, **options: object) -> Page:
    """A view with its data."""
    address, sign = VIEWS[view]
    page = open_tab(f"{site.url}{address}", **options)
    expect(page.locator(sign).first).to_be_visible()
    return page


@each_view
def test_nothing_is_in_the_way_of_assistive_technology(small: Site, open_tab: OpenTab, view: str) -> None:
    """axe finds nothing in either theme: roles, names, labels, headings and contrast are as WCAG wants them."""
    page = filled(small, open_tab, view)
    for width in (1280, 360):
        page.set_viewport_size({"width": width, "height": 720})
        for theme in ("light", "dark"):
            page.get_by_label("Colours").select_option(theme)
            found = Axe().run(page)
            assert found.violations_count == 0, found.generate_report()


def test_the_first_steps_fit_a_phone(site: Site, open_tab: OpenTab) -> None:
    """What to push first can be read without scrolling to the side, and axe finds nothing."""
    site.start("query")
    page = open_tab(site.url, viewport={"width": 360, "height": 640})
    expect(page.get_by_role("heading", name="No host has sent anything yet")).to_be_visible()
    assert page.locator("pre").evaluate_all("all => all.every(one => one.scrollWidth <= one.clientWidth)")
    found = Axe().run(page)
    assert found.violations_count == 0, found.generate_report()


def test_fingers_find_their_targets(small: Site, open_tab: OpenTab) -> None:
    """On a touch screen nothing that can be pressed is smaller than WCAG's 24 pixels."""
    for view in VIEWS:
        page = filled(small, open_tab, view, viewport={"width": 360, "height": 640}, has_touch=True, is_mobile=True)
        targets = page.locator("button:visible, select:visible, summary:visible, .checks label:visible, nav a:visible")
        boxes = targets.evaluate_all("all => all.map(one => [one.textContent, one.getBoundingClientRect().height])")
        assert [box for box in boxes if box[1] < 24] == []


@each_view
def test_every_width_fits(small: Site, open_tab: OpenTab, view: str) -> None:
    """From a small phone to a wall display nothing sticks out to the side."""
    page = filled(small, open_tab, view)
    for width in (320, 390, 1280, 2560):
        page.set_viewport_size({"width": width, "height": 800})
        page.wait_for_function("width => document.documentElement.scrollWidth <= width", arg=width)


def test_a_phone_shows_what_matters(small: Site, open_tab: OpenTab) -> None:
    """However long a host's name is, its numbers stand beside it on a phone's screen, and it can be read in full."""
    page = filled(small, open_tab, "fleet", viewport={"width": 360, "height": 640}, has_touch=True, is_mobile=True)
    expect(page.get_by_role("link", name=LONG)).to_be_visible()
    for header in ("CPU", "Memory", "Last seen"):
        box = page.get_by_role("columnheader", name=header, exact=True).bounding_box()
        assert box is not None
        assert box["x"] + box["width"] <= 360, header
    page.get_by_role("link", name=LONG).click()
    expect(page.get_by_role("heading", level=1)).to_have_text(LONG)
    page.wait_for_function("document.documentElement.scrollWidth <= 360")
    page.goto(f"{small.url}#/hosts/web-2")
    expect(page.locator(".legend").filter(has_text=LONG)).to_be_visible()
    page.wait_for_function("document.documentElement.scrollWidth <= 360")


def test_what_is_wider_than_a_phone_scrolls_by_itself(small: Site, open_tab: OpenTab) -> None:
    """The explorer's table, curl and SQL are boxes with names that the keyboard reaches; the page stays where it is."""
    page = filled(small, open_tab, "explorer", viewport={"width": 360, "height": 640}, has_touch=True, is_mobile=True)
    for name in ("Answer", "curl, text", "SQL, text"):
        box = page.get_by_role("group", name=name, exact=True)
        box.focus()
        expect(box).to_be_focused()
        assert box.evaluate("box => box.scrollWidth > box.clientWidth"), name
        before = box.evaluate("box => box.scrollLeft")
        page.keyboard.press("ArrowRight")
        page.wait_for_function("before => document.activeElement.scrollLeft > before", arg=before)
    assert page.evaluate("[document.documentElement.scrollWidth, scrollX]") == [360, 0]


def test_the_page_is_light(small: Site, open_tab: OpenTab) -> None:
    """A visit to every view takes less than the bound from the service's files, all from the service itself."""
    responses: list[Response] = []
    page = open_tab("about:blank")
    page.on("response", lambda response: responses.append(response))
    page.goto(small.url)
    expect(page.locator("tbody tr")).to_have_count(HOSTS)
    page.get_by_role("link", name="web-11").click()
    expect(page.locator("canvas").first).to_be_visible()
    page.get_by_role("link", name="Explorer").click()
    expect(page.locator(".answer .swatch").first).to_be_visible()  # Chart.js is there, and has drawn
    assert all(response.url.startswith(small.url) for response in responses)
    files = [response for response in responses if "/api/" not in response.url]
    assert any("chart.bundle.js" in file.url for file in files)
    assert sum(file.request.sizes()["responseBodySize"] for file in files) < TRANSFERRED_BYTES


def test_the_keyboard_reaches_everything(small: Site, open_tab: OpenTab) -> None:
    """Tab goes past the navigation or skips it; Enter opens a host, whose title then has the focus."""
    page = filled(small, open_tab, "fleet")
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="Skip to the content")).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", level=1)).to_have_text("Fleet")
    page.keyboard.press("Tab")
    expect(page.get_by_label("Host", exact=True)).to_be_focused()
    page.get_by_label("Host", exact=True).focus()
    page.keyboard.type("web-7")
    page.get_by_role("button", name="Memory").focus()
    page.keyboard.press("Enter")
    expect(page.locator("th[aria-sort=descending]")).to_have_text("Memory")
    page.get_by_role("link", name="web-7").focus()
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", level=1, name="web-7")).to_be_focused()
    expect(page).to_have_title("web-7 · Tidemark")
    page.get_by_label("15 min").focus()
    page.keyboard.press("ArrowRight")
    expect(page.get_by_label("1 hour")).to_be_checked()
    expect(page.get_by_role("img", name="user 22.0 %")).to_be_visible()


def test_a_chosen_theme_stays(small: Site, open_tab: OpenTab) -> None:
    """The system's theme is followed until one is chosen; then that one, also after the page is loaded again."""
    page = filled(small, open_tab, "host", color_scheme="light")
    ground = "getComputedStyle(document.body).backgroundColor"
    light = page.evaluate(ground)
    page.emulate_media(color_scheme="dark")
    dark = page.evaluate(ground)
    assert dark != light
    page.get_by_label("Colours").select_option("light")
    assert page.evaluate(ground) == light
    page.reload()
    assert page.evaluate(ground) == light
    expect(page.get_by_label("Colours")).to_have_value("light")
    other = page.context.new_page()
    other.goto(small.url)
    other.get_by_label("Colours").select_option("dark")
    expect(page.get_by_label("Colours")).to_have_value("dark")
    assert page.evaluate(ground) == dark


def test_forced_colours_leave_the_signs(small: Site, open_tab: OpenTab) -> None:
    """With the system's few colours, what is chosen can still be told from the rest, and curves from each other."""
    page = filled(small, open_tab, "host", forced_colors="active", reduced_motion="reduce")
    ranges = page.locator(".segments span").evaluate_all("all => all.map(one => getComputedStyle(one).backgroundColor)")
    assert ranges[0] not in ranges[1:]
    swatches = page.locator("figure", has=page.get_by_role("heading", name="CPU", exact=True)).locator(".swatch")
    expect(swatches).to_have_count(2)
    found = swatches.evaluate_all("all => all.map(one => getComputedStyle(one).backgroundColor)")
    assert len(set(found)) == 2
    page.get_by_role("link", name="Explorer").click()
    expect(page.locator(".answer canvas")).to_be_visible()
    underlines = page.locator(".bar nav a").evaluate_all(
        "all => all.map(one => getComputedStyle(one).borderBottomColor)"
    )
    assert underlines[1] not in (underlines[0], underlines[2])


def test_the_policy_holds(small: Site, open_tab: OpenTab) -> None:
    """Were there a hole, a text would still not become markup: the browser refuses it."""
    page = filled(small, open_tab, "fleet", may_fail=True)
    written = page.evaluate(
        """() => {
            try { document.body.innerHTML = "<b>x</b>"; return "written"; } catch (error) { return error.name; }
        }"""
    )
    assert written == "TypeError"
