"""The functions that make measurements, fields and series: idempotent, bounded, and safe for many at once."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import psycopg
import pytest
from psycopg.types.json import Jsonb

from sql.addresses import as_role
from tests.conftest import POLL_SECONDS

RESERVED = ["time", "series_id", "host", "tags", "ctid", "xmin", "xmax", "cmin", "cmax", "tableoid"]


@pytest.fixture
def ingest(database: str) -> Iterator[psycopg.Connection]:
    """A connection with the rights of ingest."""
    with psycopg.connect(as_role(database, "ingest"), autocommit=True) as connection:
        yield connection


@pytest.fixture
def owner(database: str) -> Iterator[psycopg.Connection]:
    """A connection with the owner's rights."""
    with psycopg.connect(database, autocommit=True) as connection:
        yield connection


def ensure_fields(connection: psycopg.Connection, measurement: str, fields: list[str], **limits: int) -> dict[str, str]:
    """The column of each field that the measurement has afterwards."""
    named = "".join(f", {name} => {limit}" for name, limit in limits.items())
    statement = f"SELECT name, column_name FROM catalog.ensure_fields(%s, %s{named})"
    return dict(connection.execute(statement.encode(), [measurement, fields]).fetchall())


def ensure_series(connection: psycopg.Connection, measurement: str, *tags: dict[str, str]) -> list[int | None]:
    """The id of each series; the measurement must be there."""
    row = connection.execute(
        "SELECT catalog.ensure_series(%s, %s)", [measurement, [Jsonb(each) for each in tags]]
    ).fetchone()
    assert row is not None
    ids: list[int | None] = row[0]
    return ids


def columns(connection: psycopg.Connection, relation: str) -> list[str]:
    """The columns of a table or view, in order."""
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT * FROM {relation} LIMIT 0".encode())
        return [column.name for column in cursor.description or []]


def at_once(database: str, count: int, work: Callable[[psycopg.Connection, int], Any]) -> list[Any]:
    """What `work` returns on each of `count` connections of ingest that begin together."""
    results: list[Any] = [None] * count
    begin = threading.Barrier(count)

    def run(number: int) -> None:
        with psycopg.connect(as_role(database, "ingest"), autocommit=True) as connection:
            begin.wait()
            results[number] = work(connection, number)

    threads = [threading.Thread(target=run, args=[number]) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return results


def test_a_measurement_comes_to_be(ingest: psycopg.Connection, owner: psycopg.Connection) -> None:
    """It gets a hypertable with one column a field and one unique index, and a view for people."""
    assert ensure_fields(ingest, "cpu", ["usage user", "usage_idle"]) == {
        "usage user": "usage user",
        "usage_idle": "usage_idle",
    }
    assert columns(owner, "points.cpu") == ["time", "series_id", "usage user", "usage_idle"]
    assert columns(owner, "metrics.cpu") == ["time", "host", "tags", "usage user", "usage_idle"]
    hypertables = owner.execute("SELECT hypertable_schema, hypertable_name FROM timescaledb_information.hypertables")
    assert hypertables.fetchall() == [("points", "cpu")]
    indexes = owner.execute("SELECT indexdef FROM pg_indexes WHERE schemaname = 'points' AND tablename = 'cpu'")
    ((definition,),) = indexes.fetchall()
    assert definition.startswith("CREATE UNIQUE INDEX")
    assert definition.endswith('(series_id, "time" DESC)')


def test_fields_are_made_once(ingest: psycopg.Connection, owner: psycopg.Connection) -> None:
    """Asking again changes nothing; new fields come at the end, in the order in which they were named."""
    first = ensure_fields(ingest, "m", ["b", "a", "b"])
    assert ensure_fields(ingest, "m", ["b", "a", "b"]) == first == {"a": "a", "b": "b"}
    assert ensure_fields(ingest, "m", ["d", "a", "c"]) == {name: name for name in "abcd"}
    assert columns(owner, "metrics.m") == ["time", "host", "tags", "b", "a", "d", "c"]


@pytest.mark.parametrize("name", RESERVED)
def test_reserved_names_get_another_column(ingest: psycopg.Connection, owner: psycopg.Connection, name: str) -> None:
    """A field whose name is taken gets one more underscore, and so does the field that looks like the result."""
    assert ensure_fields(ingest, "m", [name, f"{name}_"]) == {name: f"{name}_", f"{name}_": f"{name}__"}
    assert columns(owner, "points.m") == ["time", "series_id", f"{name}_", f"{name}__"]


@pytest.mark.parametrize("name", ["ünï", "a.b", 'q"uote', "back\\slash", "Select", "per%cent", "x" * 63, " "])
def test_any_name_is_only_a_name(ingest: psycopg.Connection, owner: psycopg.Connection, name: str) -> None:
    """Names are quoted everywhere: measurement and field keep theirs."""
    assert ensure_fields(ingest, name, [name]) == {name: name}
    (column,) = owner.execute("SELECT column_name FROM catalog.field").fetchall()
    assert column == (name,)
    (view,) = owner.execute("SELECT table_name FROM information_schema.views WHERE table_schema = 'metrics'").fetchall()
    assert view == (name,)


@pytest.mark.parametrize("name", ["", "x" * 64])
def test_a_name_of_the_wrong_length_is_refused(
    ingest: psycopg.Connection, owner: psycopg.Connection, name: str
) -> None:
    """Whoever calls must keep to 1 to 63 bytes; nothing half made stays."""
    with pytest.raises(psycopg.errors.CheckViolation):
        ensure_fields(ingest, name, ["a"])
    with pytest.raises(psycopg.Error):
        ensure_fields(ingest, "m", [name])
    assert owner.execute("SELECT count(*) FROM catalog.measurement").fetchone() == (0,)


def test_past_a_limit_nothing_is_made(ingest: psycopg.Connection, owner: psycopg.Connection) -> None:
    """None of the fields when not all have room, no measurement past their number; what is there stays."""
    assert ensure_fields(ingest, "m", ["a", "b", "c"], max_fields=2) == {}
    assert owner.execute("SELECT to_regclass('points.m')").fetchone() == (None,)
    assert ensure_fields(ingest, "m", ["a", "b"], max_fields=2) == {"a": "a", "b": "b"}
    assert ensure_fields(ingest, "m", ["c", "a"], max_fields=2) == {"a": "a", "b": "b"}
    assert ensure_fields(ingest, "n", ["a"], max_measurements=1) == {}
    assert ensure_fields(ingest, "m", ["c"], max_measurements=1) == {name: name for name in "abc"}
    assert owner.execute("SELECT to_regclass('points.n')").fetchone() == (None,)


def test_a_table_that_was_dropped_by_hand_is_made_anew(ingest: psycopg.Connection, owner: psycopg.Connection) -> None:
    """Its fields and series are those asked for from then on, with other ids, and the epoch is another."""
    ensure_fields(ingest, "m", ["a", "b"])
    (before,) = ensure_series(ingest, "m", {"host": "x"})
    epoch = ingest.execute("SELECT catalog.epoch()").fetchone()
    owner.execute("SELECT catalog.drop_rollups(id, '10m') FROM catalog.measurement; DROP TABLE points.m CASCADE")
    assert ensure_fields(ingest, "m", ["c"]) == {"c": "c"}
    assert ensure_series(ingest, "m", {"host": "x"}) != [before]
    assert columns(owner, "metrics.m") == ["time", "host", "tags", "c"]
    assert ingest.execute("SELECT catalog.epoch()").fetchone() != epoch


def test_series_are_made_once(ingest: psycopg.Connection, owner: psycopg.Connection) -> None:
    """Ids come in the order asked, the same tags have the same id, also twice in one call and in another order."""
    ensure_fields(ingest, "m", ["a"])
    web, db = {"host": "web", "zone": "a"}, {"host": "db"}
    first = ensure_series(ingest, "m", web, db, web, {})
    assert first[0] == first[2]
    assert len({*first}) == 3
    assert None not in first
    assert ensure_series(ingest, "m", {}, {"zone": "a", "host": "web"}, db) == [first[3], first[0], first[1]]
    assert owner.execute("SELECT count(*) FROM catalog.series").fetchone() == (3,)


def test_series_belong_to_their_measurement(ingest: psycopg.Connection) -> None:
    """The same tags are another series elsewhere; a measurement that is not there can have none."""
    ensure_fields(ingest, "m", ["a"])
    ensure_fields(ingest, "n", ["a"])
    assert ensure_series(ingest, "m", {"host": "x"}) != ensure_series(ingest, "n", {"host": "x"})
    with pytest.raises(psycopg.errors.UndefinedTable, match='there is no measurement "nowhere"'):
        ensure_series(ingest, "nowhere", {"host": "x"})
    assert ensure_series(ingest, "m") == []


@pytest.mark.parametrize(
    ("tags", "host"),
    [
        ({"host": "a", "hostname": "b"}, "a"),
        ({"hostname": "b", "instance": "d"}, "b"),
        ({"host.name": "c"}, "c"),
        ({"instance": "d"}, "d"),
        ({"zone": "z"}, None),
    ],
)
def test_the_host_is_the_first_host_tag(
    ingest: psycopg.Connection, owner: psycopg.Connection, tags: dict[str, str], host: str | None
) -> None:
    """Of the configured tags the first that the series has."""
    ensure_fields(ingest, "m", ["a"])
    ensure_series(ingest, "m", tags)
    assert owner.execute("SELECT tags, host FROM catalog.series").fetchall() == [(tags, host)]


def test_series_past_the_limit_have_no_id(ingest: psycopg.Connection) -> None:
    """Those that are known keep theirs."""
    ensure_fields(ingest, "m", ["a"])
    tags = [Jsonb({"n": str(number)}) for number in range(4)]
    statement = "SELECT catalog.ensure_series('m', %s, max_series => 2)"
    ((first,),) = ingest.execute(statement, [tags[:2]]).fetchall()
    ((second,),) = ingest.execute(statement, [tags]).fetchall()
    assert None not in first
    assert second == [*first, None, None]


def test_new_series_past_the_limit_of_a_minute_have_the_id_0(
    ingest: psycopg.Connection, owner: psycopg.Connection
) -> None:
    """Those that are known cost nothing, the calls of a minute count together, and the next minute begins anew."""
    ensure_fields(ingest, "m", ["a"])

    def ask(*numbers: int, **limits: int) -> list[int | None]:
        named = "".join(f", {name} => {limit}" for name, limit in limits.items())
        tags = [Jsonb({"n": str(number)}) for number in numbers]
        ((ids,),) = ingest.execute(f"SELECT catalog.ensure_series('m', %s{named})".encode(), [tags]).fetchall()
        return list(ids)

    assert ask(1, 2, 3, 4, max_new=3) == [1, 2, 3, 0]
    assert ask(3, 2, 1, max_new=1) == [3, 2, 1]
    # A minute that is over, whatever the clock says at this moment.
    owner.execute("UPDATE catalog.series_growth SET minute = '2020-01-01', made = 1000000")
    assert ask(4, max_new=1) == [4]
    assert owner.execute("SELECT made, minute > '2020-01-01' FROM catalog.series_growth").fetchall() == [(1, True)]
    assert ask(5, 6, max_series=5, max_new=100) == [5, None]
    assert ask(6, 7, max_series=5, max_new=0) == [None, None]
    assert ask(6, max_series=10, max_new=0) == [0]


def test_tags_longer_than_an_index_row(ingest: psycopg.Connection) -> None:
    """Series are found by a digest, so tags may be of any length."""
    ensure_fields(ingest, "m", ["a"])
    tags = {"long": "x" * 20_000}
    assert ensure_series(ingest, "m", tags) == ensure_series(ingest, "m", tags) != [None]


def test_many_meet_a_new_measurement_at_once(database: str, owner: psycopg.Connection) -> None:
    """Every caller gets its fields and its series, and none is made twice."""
    fields = [[f"f{number % 3}", f"g{number}"] for number in range(12)]

    def work(connection: psycopg.Connection, number: int) -> tuple[dict[str, str], list[int | None]]:
        return (
            ensure_fields(connection, "m", fields[number]),
            ensure_series(connection, "m", {"host": "shared"}, {"host": str(number % 4)}),
        )

    results = at_once(database, 12, work)

    for (found, _), wanted in zip(results, fields, strict=True):
        assert found.items() >= {name: name for name in wanted}.items()
    assert len({ids[0] for _, ids in results}) == 1
    assert len({ids[1] for _, ids in results}) == 4
    assert owner.execute("SELECT count(*) FROM catalog.measurement").fetchone() == (1,)
    assert owner.execute("SELECT count(*) FROM catalog.series").fetchone() == (5,)
    assert sorted(columns(owner, "metrics.m")[3:]) == sorted({name for both in fields for name in both})


def test_many_meet_many_measurements_at_once(database: str) -> None:
    """Different orders of the same new measurements do not deadlock."""
    names = [f"m{number}" for number in range(6)]

    def work(connection: psycopg.Connection, number: int) -> list[dict[str, str]]:
        turned = names[number % 6 :] + names[: number % 6]
        with connection.transaction():
            return [ensure_fields(connection, name, ["a", "b"]) for name in turned]

    for made in at_once(database, 8, work):
        assert made == [{"a": "a", "b": "b"}] * 6


def test_a_reader_of_the_table_holds_nobody_up(database: str, ingest: psycopg.Connection) -> None:
    """A new field waits a second for those who use the table, then gives up for now; known fields do not wait."""
    ensure_fields(ingest, "m", ["a"])
    with psycopg.connect(database) as reader:
        reader.execute("SELECT * FROM points.m")
        with pytest.raises(psycopg.errors.LockNotAvailable):
            ensure_fields(ingest, "m", ["b"])
        assert ensure_fields(ingest, "m", ["a"]) == {"a": "a"}
    assert ensure_fields(ingest, "m", ["b"]) == {"a": "a", "b": "b"}


def test_a_new_field_and_a_reader_of_the_view_never_wait_for_each_other(
    database: str, ingest: psycopg.Connection, owner: psycopg.Connection
) -> None:
    """Both take the view before its table: whoever comes first goes first, and nobody is made a victim."""
    ensure_fields(ingest, "m", ["a"])
    outcomes: dict[str, object] = {}

    def run(statement: str) -> threading.Thread:
        """Run a statement until it waits for a lock."""

        def work() -> None:
            with psycopg.connect(database, autocommit=True) as connection:
                pids.append(connection.info.backend_pid)
                outcomes[statement] = connection.execute(statement.encode()).statusmessage

        pids: list[int] = []
        thread = threading.Thread(target=work)
        thread.start()
        while not pids or owner.execute("SELECT pg_blocking_pids(%s) = '{}'", pids).fetchone() == (True,):
            time.sleep(POLL_SECONDS)
        return thread

    with psycopg.connect(database) as holder:
        holder.execute("LOCK TABLE points.m IN ACCESS EXCLUSIVE MODE")
        making, reading = "SELECT catalog.make_fields('m', '{b}', 10, 10)", "SELECT * FROM metrics.m"
        waiting = [run(making), run(reading)]
    for thread in waiting:
        thread.join()
    assert outcomes == {making: "SELECT 1", reading: "SELECT 0"}


def test_the_epoch_tells_one_catalog_from_another(ingest: psycopg.Connection, owner: psycopg.Connection) -> None:
    """It stays while series come, and changes when what a process remembers of them means nothing any more."""

    def epoch() -> Any:
        return ingest.execute("SELECT catalog.epoch()").fetchone()

    before = epoch()
    ensure_fields(ingest, "m", ["a"])
    ensure_series(ingest, "m", {"host": "x"})
    assert epoch() == before
    owner.execute("TRUNCATE catalog.series")
    truncated = epoch()
    assert truncated != before
    owner.execute("SELECT catalog.drop_measurement('m')")
    assert epoch() not in (before, truncated)


def test_the_edition_is_the_servers(owner: psycopg.Connection) -> None:
    """It says what the license setting, the extension and the server say of themselves."""
    row = owner.execute(
        "SELECT catalog.edition(), current_setting('timescaledb.license'), current_setting('server_version')"
    ).fetchone()
    assert row is not None
    told, license_setting, version = row
    assert told["edition"] == {"apache": "apache", "timescale": "community"}[license_setting]
    assert told["postgresql"] == version
    assert json.loads(json.dumps(told)).keys() == {"edition", "timescaledb", "postgresql"}
