"""What only the PostgreSQL store promises: the lease and its fence, its turn among others, and a server that fails."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import msgspec
import psycopg
import pytest
from real.postgresql import RealPgbouncer, RealPostgresql, shared_cluster
from real.prometheus import free_port, in_thread, until
from store.conftest import database_of
from store.makers import SUCCEEDED, T0, make_alert, new_incident, settlement
from store.old_versions import TABLES, VERSIONS, check_that_it_is_read_and_written, rows_of

from remediator.errors import ConflictError, FencedError, StoreError
from remediator.model.alert import Source
from remediator.model.incident import Disposition
from remediator.store import postgresql
from remediator.store import psycopg_connection as libpq
from remediator.store.migrations import migrations
from remediator.store.postgresql import database_name, open_postgresql
from remediator.store.sql_store import SharedStore


async def opened(url: str) -> SharedStore:
    """A store that leads."""
    store = await open_postgresql(url)
    store.fence.epoch = (await store.claim_lease("a test", "", 0.0))[0].epoch
    return store


@pytest.fixture
def url(tmp_path: Path) -> str:
    return database_of(tmp_path)


@pytest.fixture
async def store(url: str) -> AsyncIterator[SharedStore]:
    store = await opened(url)
    yield store
    await store.close()


@pytest.fixture
def server() -> Iterator[RealPostgresql]:
    """A server of the test's own, to do harm to."""
    with RealPostgresql() as server:
        yield server


def ask(url: str, question: str) -> list[tuple[object, ...]]:
    with psycopg.connect(url, autocommit=True) as connection:
        cursor = connection.execute(question.encode())
        return cursor.fetchall() if cursor.description else []


# The database.


async def test_nothing_outside_our_schema_is_touched(store: SharedStore, url: str) -> None:
    others = "SELECT count(*) FROM information_schema.tables WHERE table_schema = 'public'"
    assert ask(url, others) == [(0,)]
    assert ask(url, "SELECT version FROM remediator.schema_version") == [(len(migrations()),)]


async def test_a_schema_of_another_program_is_refused_and_untouched(url: str) -> None:
    ask(url, "CREATE SCHEMA remediator; CREATE TABLE remediator.alerts (mine TEXT)")
    with pytest.raises(StoreError, match="its schema remediator belongs to another program, and is left as it is"):
        await open_postgresql(url)
    assert ask(url, "SELECT table_name FROM information_schema.tables WHERE table_schema = 'remediator'") == [
        ("alerts",)
    ]


async def test_a_database_of_a_later_version_is_refused(url: str) -> None:
    await (await open_postgresql(url)).close()
    ask(url, "UPDATE remediator.schema_version SET version = 999")
    with pytest.raises(StoreError, match=r"a later remediator wrote it .* left as it is; upgrade remediator"):
        await open_postgresql(url)


async def test_who_may_not_make_a_schema_is_told(url: str) -> None:
    ask(url, "DO $$ BEGIN CREATE USER nobody; EXCEPTION WHEN duplicate_object THEN NULL; END $$")
    with pytest.raises(StoreError, match=r"cannot open the database .*: permission denied for database"):
        await open_postgresql(url.replace("remediator@", "nobody@"))


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("postgresql://u:geheim@127.0.0.1:{port}/x", "cannot open the database 127.0.0.1:{port}/x: .*refused"),
        ("postgresql://u:geheim@[::1/x", "cannot read the address of the database"),
        ("postgresql://u:geheim@127.0.0.1/x?colour=red", "cannot read the address of the database"),
    ],
)
async def test_what_cannot_be_reached_is_told_without_its_password(url: str, reason: str) -> None:
    port = free_port()
    with pytest.raises(StoreError, match=reason.format(port=port)) as told:
        await open_postgresql(url.format(port=port))
    assert "geheim" not in str(told.value)


def test_a_database_is_named_without_its_password() -> None:
    assert database_name("postgresql://u:geheim@db.example:5433/heal") == "db.example:5433/heal"


async def test_a_server_that_may_forget_what_it_said_is_warned_of(url: str, caplog: pytest.LogCaptureFixture) -> None:
    name = url.rsplit("/", 1)[1]
    await (await open_postgresql(url)).close()
    assert caplog.text == ""
    ask(url, f'ALTER DATABASE "{name}" SET synchronous_commit TO off')
    await (await open_postgresql(url)).close()
    assert "has synchronous_commit off: what it says is stored may be lost with its machine" in caplog.text


async def test_a_password_comes_from_its_file_at_each_connection(tmp_path: Path, url: str) -> None:
    secret = tmp_path / "secret"
    with pytest.raises(StoreError, match=f"cannot open the database .*: cannot read {secret}: .*No such file"):
        await open_postgresql(url, str(secret))
    secret.write_text("geheim\n")
    store = await open_postgresql(url, str(secret))
    assert await store.journal_end() == 0
    await store.close()


@pytest.mark.parametrize("version", VERSIONS)
async def test_a_database_of_an_earlier_version_is_read_and_written(
    url: str, version: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(postgresql, "migrations", lambda: migrations()[:version])
    await (await open_postgresql(url)).close()
    fill(url, version)
    monkeypatch.undo()
    store = await opened(url)
    assert ask(url, "SELECT version FROM remediator.schema_version") == [(len(migrations()),)]
    await check_that_it_is_read_and_written(store)
    await store.close()


def fill(url: str, version: int) -> None:
    """Put into a database of this version what one in SQLite had in it."""
    with psycopg.connect(url) as connection:
        connection.execute(b"SET search_path TO remediator; SET session_replication_role TO replica; TRUNCATE counters")
        for table, (columns, rows) in rows_of(version).items():
            values = ", ".join(["%s"] * len(columns))
            with connection.cursor() as cursor:
                cursor.executemany(f"INSERT INTO {table} ({', '.join(columns)}) VALUES ({values})".encode(), rows)
            if "id" in columns:
                last = f"SELECT setval(pg_get_serial_sequence('{table}', 'id'), (SELECT max(id) FROM {table}))"
                connection.execute(last.encode())


async def test_every_version_ends_in_the_same_schema(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def schema(url: str) -> list[tuple[object, ...]]:
        columns = """
            SELECT table_name, column_name, data_type, column_default, is_nullable, collation_name
            FROM information_schema.columns WHERE table_schema = 'remediator' ORDER BY 1, 2
        """
        indexes = "SELECT tablename, indexdef FROM pg_indexes WHERE schemaname = 'remediator' ORDER BY 1, 2"
        return [*ask(url, columns), *ask(url, indexes)]

    new, old = database_of(tmp_path / "new"), database_of(tmp_path / "old")
    await (await open_postgresql(new)).close()
    for version in range(1, len(migrations()) + 1):
        monkeypatch.setattr(postgresql, "migrations", lambda version=version: migrations()[:version])
        await (await open_postgresql(old)).close()
    assert schema(old) == schema(new)
    assert {str(row[0]) for row in schema(new)} == {*TABLES, "lease", "schema_version"}


async def test_two_that_start_at_once_make_one_schema(url: str) -> None:
    stores = await asyncio.gather(*(open_postgresql(url) for _ in range(5)))
    assert ask(url, "SELECT count(*), max(version) FROM remediator.schema_version") == [(1, len(migrations()))]
    for store in stores:
        await store.close()


async def test_a_replica_goes_on_while_a_later_version_brings_the_schema_forward(
    store: SharedStore, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    incident = await store.open_incident(new_incident())
    later = "ALTER TABLE incidents ADD COLUMN mood TEXT NOT NULL DEFAULT 'calm'; CREATE TABLE moods (name TEXT) STRICT;"
    monkeypatch.setattr(postgresql, "migrations", lambda: [*migrations(), later])
    newer = await open_postgresql(url)
    assert [found.id for found in await newer.open_incidents()] == [incident.id]
    run = await store.begin_step(incident.id, 0, 1, "restart", "", "", T0, T0)
    await store.end_step(run.id, SUCCEEDED, T0)
    assert (await store.open_incident(new_incident("other"))).id > incident.id
    await newer.close()


# The lease.


async def test_the_lease_is_had_by_one_until_it_expires(url: str) -> None:
    one, other = await open_postgresql(url), await open_postgresql(url)
    mine, taken = await one.claim_lease("one", "http://one", 60.0)
    assert taken
    assert (mine.holder, mine.url, mine.epoch, mine.expired) == ("one", "http://one", 1, False)
    theirs, taken = await other.claim_lease("other", "", 60.0)
    assert (theirs.holder, theirs.epoch, taken) == ("one", 1, False)

    renewed = await one.renew_lease(mine.epoch, 120.0)
    assert renewed.expires_at > mine.expires_at + 59
    await one.release_lease(mine.epoch)
    assert (await other.lease()).expired
    theirs, taken = await other.claim_lease("other", "", 60.0)
    assert (theirs.holder, theirs.epoch, taken) == ("other", 2, True)

    # What the first one still tries is another's by now.
    assert (await one.renew_lease(mine.epoch, 60.0)).holder == "other"
    await one.release_lease(mine.epoch)
    assert not (await one.lease()).expired
    await one.close()
    await other.close()


async def test_of_many_that_claim_at_once_one_leads(url: str) -> None:
    stores = await asyncio.gather(*(open_postgresql(url) for _ in range(6)))
    leases = await asyncio.gather(*(store.claim_lease(str(n), "", 60.0) for n, store in enumerate(stores)))
    assert len({lease.holder for lease, _ in leases}) == 1
    assert {lease.epoch for lease, _ in leases} == {1}
    assert [taken for _, taken in leases].count(True) == 1
    for store in stores:
        await store.close()


async def test_who_does_not_lead_writes_only_what_anyone_may(store: SharedStore, url: str) -> None:
    alert = make_alert()
    await store.put_alerts([alert], T0)
    incident = await store.open_incident(new_incident(), [settlement(alert, Disposition.OPENED)])
    run = await store.begin_step(incident.id, 0, 1, "restart", "", "", T0, T0)
    journal = await store.journal()

    newer = await open_postgresql(url)
    newer.fence.epoch = (await newer.claim_lease("the newer", "", 60.0))[0].epoch
    for write in (
        lambda: store.open_incident(new_incident("other")),
        lambda: store.begin_step(incident.id, 1, 1, "restart", "", "", T0, T0),
        lambda: store.settle([settlement(alert, Disposition.NO_RUNBOOK)], T0),
        lambda: store.hold_incident(incident.id, None, T0),
        lambda: store.pass_over(incident.id, 1, "restart", "", T0),
        lambda: store.offer_step(incident.id, 1),
        lambda: store.move_cursor("grafana", 1),
        lambda: store.put_annotation("incident:1", 1, "grafana", 1),
        lambda: store.forget(T0),
        lambda: store.put_alerts([msgspec.structs.replace(alert, source=Source.THRESHOLD)], T0),
    ):
        with pytest.raises(FencedError, match="cannot write to the database: the newer leads, not this process"):
            await write()
    assert await newer.journal() == journal

    # What happened is told by whoever it happened to, and anyone takes in alerts and answers.
    await store.end_step(run.id, SUCCEEDED, T0)
    assert (await store.put_alerts([make_alert("other")], T0)).new == 1
    await store.add_pause([], T0, T0 + 60, "ada", "")
    await newer.hold_incident(incident.id, None, T0)
    await newer.close()


async def test_who_never_led_leads_nothing(url: str) -> None:
    store = await open_postgresql(url)
    with pytest.raises(FencedError, match="nobody leads"):
        await store.open_incident(new_incident())
    await store.close()


# Taking turns.


async def test_the_journal_is_committed_in_the_order_of_its_numbers(url: str) -> None:
    stores = await asyncio.gather(*(open_postgresql(url) for _ in range(3)))
    seen: list[int] = []
    ending = asyncio.Event()

    async def follow() -> None:
        while True:
            last = ending.is_set()
            entries = await stores[0].journal(after=seen[-1] if seen else 0)
            seen.extend(entry.id for entry in entries)
            if last and not entries:
                return

    following = asyncio.create_task(follow())
    await asyncio.gather(*(store.add_pause([], T0, T0 + n, "ada", "") for n in range(60) for store in stores))
    ending.set()
    await following
    assert seen == [entry.id for entry in await stores[0].journal(limit=1000)]
    assert len(seen) == 180
    for store in stores:
        await store.close()


# A server that fails.


async def test_work_goes_on_when_the_server_is_back(server: RealPostgresql) -> None:
    store = await opened(await in_thread(lambda: server.create("db"))())
    await store.put_alerts([make_alert("before")], T0)
    for end in (server.kill, server.stop):
        await in_thread(end)()
        for work in (store.put_alerts([make_alert("lost")], T0), store.open_incident(new_incident()), store.journal()):
            with pytest.raises(StoreError, match=f"cannot (write to|read) the database 127.0.0.1:{server.port}/db: "):
                await work
        await in_thread(server.start)()
        assert (await store.put_alerts([make_alert(str(end))], T0)).new == 1
    assert [stored.alert.labels["service"] for stored in await store.firing_alerts()] == [
        "before",
        str(server.kill),
        str(server.stop),
    ]
    await store.close()


async def test_what_was_acknowledged_survives_a_kill_of_the_server(server: RealPostgresql) -> None:
    url = await in_thread(lambda: server.create("db"))()
    store, acknowledged = await opened(url), set()

    async def put(number: int) -> None:
        try:
            await store.put_alerts([make_alert(f"s{number}", part=part) for part in "abc"], T0)
        except StoreError:
            return
        acknowledged.add(f"s{number}")

    for round_number in range(3):
        kill = threading.Timer(0.05 * (round_number + 1), server.kill)
        kill.start()
        for batch in range(200):
            await asyncio.gather(*(put(round_number * 10_000 + batch * 5 + n) for n in range(5)))
            if not kill.is_alive():
                break
        await asyncio.to_thread(kill.join)
        await in_thread(server.start)()
    found: dict[str, int] = {}
    for stored in await store.firing_alerts():
        found[stored.alert.labels["service"]] = found.get(stored.alert.labels["service"], 0) + 1
    assert acknowledged
    assert acknowledged <= set(found)
    assert set(found.values()) == {3}
    await store.close()


async def test_a_connection_lost_between_two_transactions_is_not_noticed(store: SharedStore, url: str) -> None:
    await store.put_alerts([make_alert()], T0)
    await asyncio.gather(*(store.firing_alerts() for _ in range(4)))
    others = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database()"
    ask(url, f"{others} AND pid <> pg_backend_pid()")
    assert (await store.put_alerts([make_alert("other")], T0)).new == 1
    assert len(await store.firing_alerts()) == 2


async def test_a_server_that_takes_no_more_connections_is_told_and_waited_for() -> None:
    settings = {"max_connections": "6", "superuser_reserved_connections": "0"}
    with RealPostgresql(settings=settings) as server:
        url = await in_thread(lambda: server.create("db"))()
        store = await opened(url)
        others = [await in_thread(lambda: connect_when_there_is_room(url))() for _ in range(5)]
        ask_again = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'remediator'"
        others[0].execute(ask_again.encode())
        others.append(await in_thread(lambda: connect_when_there_is_room(url))())
        with pytest.raises(StoreError, match=r"cannot write to the database .*(too many clients|remaining connection)"):
            await store.put_alerts([make_alert()], T0)
        watching = others.pop()
        for other in others:
            other.close()
        await until(in_thread(lambda: connections(watching) == 1))
        watching.close()
        assert (await store.put_alerts([make_alert()], T0)).new == 1
        await store.close()


def connections(connection: psycopg.Connection[tuple[object, ...]]) -> object:
    """How many connections of clients the server has, this one among them."""
    with connection.transaction():
        return connection.execute(
            b"SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend'"
        ).fetchone()[0]  # type: ignore[index]


def connect_when_there_is_room(url: str) -> psycopg.Connection[tuple[object, ...]]:
    while True:
        try:
            return psycopg.connect(url)
        except psycopg.OperationalError:
            time.sleep(0.02)


async def test_a_server_that_only_reads_is_told_and_waited_for(server: RealPostgresql) -> None:
    url = await in_thread(lambda: server.create("db"))()
    store = await opened(url)
    await store.put_alerts([make_alert()], T0)
    await in_thread(server.stop)()
    server.stand_by()
    await in_thread(server.start)()
    for work in (store.put_alerts([make_alert("lost")], T0), store.open_incident(new_incident()), open_postgresql(url)):
        with pytest.raises(
            StoreError, match=r"cannot (write to|open) the database .* cannot set transaction read-write"
        ):
            await work
    assert len(await store.firing_alerts()) == 1
    await in_thread(lambda: server.ask("postgres", "SELECT pg_promote()"))()
    assert (await store.put_alerts([make_alert("after")], T0)).new == 1
    await store.close()


async def test_a_lock_that_another_holds_is_waited_for_only_so_long(
    store: SharedStore, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(libpq, "_BEGIN_WRITE", libpq._BEGIN_WRITE.replace("5000", "200"))
    with psycopg.connect(url) as other:
        other.execute(b"LOCK TABLE remediator.alerts")
        with pytest.raises(StoreError, match="canceling statement due to"):
            await store.put_alerts([make_alert()], T0)
    assert (await store.put_alerts([make_alert()], T0)).new == 1


async def test_one_that_sleeps_in_the_middle_of_a_write_keeps_the_others_waiting_only_so_long(
    store: SharedStore, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(libpq, "_BEGIN_WRITE", libpq._BEGIN_WRITE.replace("5000", "300"))
    sleeper = await opened(url)
    slept = threading.Event()

    def sleep(_: object) -> None:
        slept.set()
        time.sleep(1.0)

    asleep = asyncio.ensure_future(sleeper._writer.submit(sleep))
    await asyncio.to_thread(slept.wait)
    monkeypatch.undo()
    assert (await store.put_alerts([make_alert()], T0)).new == 1
    with pytest.raises(StoreError, match="cannot write to the database"):
        await asleep
    await sleeper.close()


async def test_a_server_that_says_nothing_is_given_up(server: RealPostgresql, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(libpq, "_SILENCE", 0.5)
    store = await opened(await in_thread(lambda: server.create("db"))())
    await store.put_alerts([make_alert()], T0)
    await store.firing_alerts()
    server.pause()
    try:
        for work in (store.put_alerts([make_alert("lost")], T0), store.firing_alerts()):
            with pytest.raises(StoreError, match=r"cannot (write to|read) the database"):
                await work
    finally:
        server.resume()
    assert (await store.put_alerts([make_alert("after")], T0)).new == 1
    await store.close()


async def test_what_a_pooler_shares_out_is_enough(tmp_path: Path) -> None:
    database = database_of(tmp_path)
    with RealPgbouncer(shared_cluster()) as pooler:
        url = pooler.url(database.rsplit("/", 1)[1])
        stores = [await opened(url), await open_postgresql(url), await open_postgresql(url)]

        async def one(n: int) -> None:
            store, alert = stores[n % 3], make_alert(f"s{n}")
            await store.put_alerts([alert], T0)
            assert alert in [stored.alert for stored in await store.firing_alerts()]

        await asyncio.gather(*(one(n) for n in range(60)))
        opened_one = await stores[0].open_incident(new_incident())
        with pytest.raises(ConflictError):
            await stores[0].open_incident(new_incident())
        with pytest.raises(FencedError):
            await stores[1].open_incident(new_incident("other"))
        assert [found.id for found in await stores[2].open_incidents()] == [opened_one.id]
        for store in stores:
            await store.close()
