"""InfluxDB's clients of both versions: what they send beside points, and what they ask before."""

from __future__ import annotations

from tests.integration.conftest import Ingest

SECONDS = 1_700_000_000


WRITES: list[tuple[str, dict[str, str]]] = [
    ("/write", {}),
    ("/write?db=telegraf&rp=autogen&consistency=any", {}),
    ("/write?db=&u=user&p=pass%20word", {}),
    ("/write?db=telegraf", {"Authorization": "Basic dXNlcjpwYXNz"}),
    ("/api/v2/write?bucket=b&org=o", {"Authorization": "Token secret"}),
    ("/api/v2/write?bucket=telegraf%2Fautogen&orgID=0", {"Authorization": "Bearer secret"}),
    ("/api/v2/write", {"Content-Type": "text/plain; charset=utf-8", "Accept": "application/json"}),
]


async def test_what_clients_send_beside_their_points(ingest: Ingest) -> None:
    """Databases, buckets, organisations and credentials of both versions are accepted."""
    for number, (path, headers) in enumerate(WRITES):
        async with ingest.client.post(f"{ingest.url}{path}", data=f"m x={number}", headers=headers) as response:
            assert response.status == 204, path
            assert response.headers["Tidemark-Durability"] == "committed"
            assert await response.read() == b""
    assert ingest.rows("SELECT x FROM m ORDER BY time") == [(float(number),) for number in range(len(WRITES))]


async def test_precisions_of_both_versions(ingest: Ingest) -> None:
    """The same moment in every unit is the same point, which merges."""
    written = {"n": 10**9, "ns": 10**9, "u": 10**6, "us": 10**6, "µ": 10**6, "ms": 1000, "s": 1}
    for unit, count in written.items():
        for path in ("/write", "/api/v2/write"):
            heard = await ingest.send(f"{path}?precision={unit}", f"m x=1 {SECONDS * count}")
            assert heard.status == 204, (unit, path)
    assert ingest.rows("SELECT extract(epoch FROM time)::bigint FROM m") == [(SECONDS,)]
    for unit, length in (("m", 60), ("h", 3600)):
        assert (await ingest.send(f"/write?precision={unit}", f"by_{unit} x=1 {SECONDS // length}")).status == 204
        assert ingest.rows(f"SELECT extract(epoch FROM time)::bigint FROM by_{unit}") == [(SECONDS // length * length,)]


async def test_errors_read_as_influxdb_s(ingest: Ingest) -> None:
    """The first version's clients look at `error`, the second's at `code` and `message`; Telegraf for two phrases."""
    for path in ("/write", "/api/v2/write"):
        partial = await ingest.send(path, "m x=1\nbad")
        assert (partial.status, partial.body["code"]) == (400, "invalid")
        assert partial.body["error"] == partial.message
        assert partial.message.startswith("partial write: ")
        none = await ingest.send(path, "bad")
        assert none.message.startswith("unable to parse: ")


async def test_ping_and_health(ingest: Ingest) -> None:
    """A server is there, and says what it can be taken for."""
    for method in ("GET", "HEAD"):
        async with ingest.client.request(method, f"{ingest.url}/ping?verbose=false") as response:
            assert response.status == 204
            assert response.headers["X-Influxdb-Version"].startswith("1.8")
            assert await response.read() == b""
    async with ingest.client.get(f"{ingest.url}/ping?verbose=true") as response:
        assert response.status == 200
        assert await response.json() == {"version": response.headers["X-Influxdb-Version"]}
    async with ingest.client.get(f"{ingest.url}/health") as response:
        told = await response.json()
        assert (response.status, told["status"], told["name"]) == (200, "pass", "influxdb")


async def test_wrong_methods_and_paths(ingest: Ingest) -> None:
    """405 and 404 in the one form of errors."""
    for method, path, status in (
        ("GET", "/write", 405),
        ("PUT", "/api/v2/write", 405),
        ("DELETE", "/api/v1/points", 405),
        ("POST", "/ping", 405),
        ("POST", "/api/v1/point", 404),
        ("GET", "/", 404),
    ):
        async with ingest.client.request(method, f"{ingest.url}{path}") as response:
            told = await response.json()
            assert (response.status, told["error"]) == (status, told["message"]), path
            assert path in told["message"]
            assert ("Allow" in response.headers) == (status == 405)


async def test_queries_of_clients(ingest: Ingest) -> None:
    """What Telegraf asks before it writes is answered, from the URL or a form; anything else is 400 or 413."""
    form = {"Content_Type": "application/x-www-form-urlencoded"}
    for path, body in (("/query?q=CREATE+DATABASE+telegraf", b""), ("/query", b"db=x&q=CREATE%20DATABASE%20%22two%22")):
        heard = await ingest.send(path, body, **form)
        assert (heard.status, heard.body) == (200, {"results": [{"statement_id": 0}]})
    async with ingest.client.get(f"{ingest.url}/query?q=SHOW+DATABASES") as response:
        (series,) = (await response.json())["results"][0]["series"]
        assert series["values"] == [["tidemark"], ["telegraf"], ["two"]]
    for body, status in (
        (b"", 400),
        (b"q=", 400),
        (b"q=SELECT+1", 400),
        (b"q=%ff\xff", 400),
        (b"&;=%", 400),
        (b"q=" + b"x" * 70_000, 413),
    ):
        for kind in (
            "application/x-www-form-urlencoded",
            "application/x-www-form-urlencoded; charset=no",
            "multipart/form-data",
        ):
            heard = await ingest.send("/query", body, Content_Type=kind)
            assert heard.status == status, (body[:20], kind)
            assert len(heard.message) < 400


async def test_what_is_remembered_of_queries_is_bounded(ingest: Ingest) -> None:
    """Names of databases, their length and the statements of a query: all names can be listed so often, and no more."""
    for number in range(1001):
        assert (await ingest.send("/query", b"q=CREATE+DATABASE+%22" + b"%d" % number + b"%22")).status == 200
    assert (await ingest.send("/query", b"q=CREATE+DATABASE+" + b"x" * 255)).status == 200
    heard = await ingest.send("/query", b"q=CREATE+DATABASE+" + b"x" * 256)
    assert (heard.status, heard.body["parameter"]) == (400, "q")
    assert heard.message == "the database's name has 256 characters, at most 255 are allowed"
    heard = await ingest.send("/query", b"q=" + b"SHOW+DATABASES;" * 20)
    assert [len(result["series"][0]["values"]) for result in heard.body["results"]] == [1000] * 20
    heard = await ingest.send("/query", b"q=" + b"SHOW+DATABASES;" * 21)
    assert (heard.status, heard.message) == (400, "21 statements, at most 20 are allowed in a query")
