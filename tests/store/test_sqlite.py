"""What only the SQLite store promises: its file, its one writer, and how it takes a disk that fails."""

from __future__ import annotations

import asyncio
import errno
import itertools
import os
import re
import resource
import sqlite3
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec
import pytest
from store.makers import SUCCEEDED, T0, make_alert, new_incident, settlement
from store.old_versions import VERSIONS, check_that_it_is_read_and_written

from remediator.errors import ConflictError, StoreError, UnavailableError
from remediator.model.health import Health
from remediator.model.incident import Disposition, Incident, Verdict
from remediator.store.database import Database
from remediator.store.migrations import migrations
from remediator.store.sql_store import SqlStore
from remediator.store.sqlite import APPLICATION_ID, _failure, back_up, open_database, open_sqlite
from remediator.store.writer import Writer


@pytest.fixture
def path(tmp_path: Path) -> str:
    return str(tmp_path / "remediator.db")


@pytest.fixture
async def store(path: str) -> AsyncIterator[SqlStore]:
    opened = await open_sqlite(path)
    yield opened
    await opened.close()


def ask(path: str, question: str) -> list[tuple[object, ...]]:
    connection = sqlite3.connect(path)
    try:
        return connection.execute(question).fetchall()
    finally:
        connection.close()


# The file.


async def test_a_new_file_is_ours_and_for_our_eyes_only(store: SqlStore, path: str) -> None:
    assert ask(path, "PRAGMA application_id") == [(APPLICATION_ID,)]
    assert ask(path, "PRAGMA user_version") == [(len(migrations()),)]
    assert ask(path, "PRAGMA journal_mode") == [("wal",)]
    assert os.stat(path).st_mode & 0o777 == 0o600


async def test_what_was_written_is_there_after_opening_again(path: str) -> None:
    store = await open_sqlite(path)
    alert = make_alert()
    await store.put_alerts([alert], T0)
    opened = await store.open_incident(new_incident(), [settlement(alert, Disposition.OPENED)])
    await store.close()
    assert not os.path.exists(f"{path}-wal")
    again = await open_sqlite(path)
    assert await again.open_incidents() == [opened]
    assert [stored.alert for stored in await again.firing_alerts()] == [alert]
    await again.close()


async def test_an_empty_file_is_taken_for_a_new_one(path: str) -> None:
    Path(path).touch()
    store = await open_sqlite(path)
    assert await store.journal_end() == 0
    await store.close()


def text_file(path: str) -> None:
    Path(path).write_text("dear diary, " * 50)


def short_file(path: str) -> None:
    Path(path).write_bytes(b"SQLite")


def database_of_another_program(path: str) -> None:
    ask_to_make(path, "CREATE TABLE alerts (mine TEXT); PRAGMA application_id = 42;")


def database_without_an_application(path: str) -> None:
    ask_to_make(path, "CREATE TABLE alerts (mine TEXT); PRAGMA journal_mode = WAL;")


def database_of_a_later_version(path: str) -> None:
    ask_to_make(path, f"CREATE TABLE t (x); PRAGMA application_id = {APPLICATION_ID}; PRAGMA user_version = 999;")


def ask_to_make(path: str, script: str) -> None:
    connection = sqlite3.connect(path)
    connection.executescript(script)
    connection.close()


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (text_file, "not an SQLite database"),
        (short_file, "not an SQLite database"),
        (database_of_another_program, "belongs to another program"),
        (database_without_an_application, "belongs to another program"),
        (database_of_a_later_version, "a later remediator wrote it"),
    ],
)
async def test_a_file_that_is_not_ours_is_refused_and_untouched(path: str, make: object, reason: str) -> None:
    assert callable(make)
    make(path)
    before = Path(path).read_bytes()
    with pytest.raises(StoreError, match=f"cannot open the database {path}: .*{reason}.* left as it is"):
        await open_sqlite(path)
    assert Path(path).read_bytes() == before
    assert os.listdir(os.path.dirname(path)) == ["remediator.db"]


async def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match=f"there is no folder {tmp_path}/nowhere; create it"):
        await open_sqlite(str(tmp_path / "nowhere" / "remediator.db"))


async def test_a_folder_is_no_database(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="it is a folder; name a file in it"):
        await open_sqlite(str(tmp_path))


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read and write everything")
async def test_a_file_without_permission_is_named(path: str) -> None:
    Path(path).touch(mode=0o400)
    with pytest.raises(StoreError, match="permission denied; let this user"):
        await open_sqlite(path)


@pytest.mark.parametrize("kept", [4096, 200_000])
async def test_a_damaged_database_is_refused_with_a_sentence(path: str, kept: int) -> None:
    store = await open_sqlite(path)
    await store.put_alerts([make_alert(n=str(n)) for n in range(1000)], T0)
    await store.close()
    with open(path, "r+b") as file:
        file.seek(kept)
        file.write(b"\xee" * (os.path.getsize(path) - kept))
    with pytest.raises(StoreError, match=f"cannot .* the database {path}: database disk image is malformed"):
        store = await open_sqlite(path)
        try:
            await store.alerts_since(0)
        finally:
            await store.close()


async def test_the_first_start_may_have_died_halfway(path: str) -> None:
    # A writer that dies within its first transaction leaves a journal beside a file with half a database in it.
    dying = f"""
import os, sqlite3
connection = sqlite3.connect({path!r}, isolation_level=None)
connection.execute("PRAGMA cache_size = 1")
connection.execute("BEGIN")
connection.execute("CREATE TABLE t (x)")
for _ in range(200):
    connection.execute("INSERT INTO t VALUES (randomblob(4000))")
os.kill(os.getpid(), 9)
"""
    subprocess.run([sys.executable, "-c", dying], check=False)
    assert os.path.exists(f"{path}-journal")
    assert os.path.getsize(path) > 0
    store = await open_sqlite(path)
    assert await store.put_alerts([make_alert()], T0)
    await store.close()


# Migrations.


@pytest.mark.parametrize("version", VERSIONS)
async def test_a_database_of_an_earlier_version_is_read_and_written(path: str, version: int) -> None:
    ask_to_make(path, VERSIONS[version])
    assert ask(path, "PRAGMA user_version") == [(version,)]
    store = await open_sqlite(path)
    assert ask(path, "PRAGMA user_version") == [(len(migrations()),)]
    await check_that_it_is_read_and_written(store)
    await store.close()


@pytest.mark.parametrize("version", VERSIONS)
async def test_every_version_ends_in_the_same_schema(path: str, tmp_path: Path, version: int) -> None:
    def schema(of: str) -> list[tuple[object, ...]]:
        question = "SELECT type, name, sql FROM sqlite_schema WHERE name NOT LIKE 'sqlite_%' ORDER BY name"
        return [(kind, name, " ".join(str(sql).split())) for kind, name, sql in ask(of, question)]

    old = str(tmp_path / "old.db")
    ask_to_make(old, VERSIONS[version])
    for each in (old, path):
        await (await open_sqlite(each)).close()
    assert schema(old) == schema(path)


def test_there_is_a_database_of_every_earlier_version() -> None:
    assert list(VERSIONS) == list(range(1, len(migrations())))


# The invariants, held by the database itself.


async def test_the_database_itself_holds_the_invariants(store: SqlStore, path: str) -> None:
    opened = await store.open_incident(new_incident())
    await store.begin_step(opened.id, 0, 1, "restart", "", "", T0, T0)
    copy = "INSERT INTO {0} SELECT * FROM (SELECT {1} FROM {0} LIMIT 1)"
    columns = {
        table: [str(row[1]) for row in ask(path, f"PRAGMA table_info({table})")] for table in ("incidents", "step_runs")
    }
    attempts = {
        "incidents.service": ("incidents", {"id": "99"}),
        "step_runs.incident": ("step_runs", {"id": "99", "attempt": "2"}),
        "step_runs.attempt": ("step_runs", {"id": "99", "ended_at": "1.0"}),
    }
    for constraint, (table, changes) in attempts.items():
        selected = ", ".join(changes.get(column, column) for column in columns[table])
        with pytest.raises(sqlite3.IntegrityError, match=f"UNIQUE constraint failed: .*{constraint}"):
            ask(path, copy.format(table, selected))


# The writer.


class Gate:
    """An operation that waits in the writer's thread until it is let go, so that what follows piles up behind it."""

    def __init__(self, writer: Writer) -> None:
        self.entered, self._go = threading.Event(), threading.Event()
        self.future = writer.submit(self._work)

    def _work(self, _: Database) -> None:
        self.entered.set()
        self._go.wait()

    def open(self) -> None:
        self._go.set()


async def test_a_failed_operation_takes_nothing_of_its_batch_with_it(store: SqlStore) -> None:
    gate = Gate(store._writer)
    writes = [asyncio.ensure_future(store.open_incident(new_incident(f"s{n % 6}"))) for n in range(12)]
    broken = store._writer.submit(lambda db: db.execute("INSERT INTO nowhere VALUES (1)"))
    bug = store._writer.submit(lambda _: {}["missing"])
    await asyncio.sleep(0)
    gate.open()
    results = await asyncio.gather(*writes, broken, bug, return_exceptions=True)
    assert [type(result) for result in results] == [Incident] * 6 + [ConflictError] * 6 + [StoreError, KeyError]
    assert len(await store.open_incidents()) == 6
    assert len(await store.journal()) == 6


async def test_many_tasks_write_and_read_their_own_writes(store: SqlStore) -> None:
    async def one(n: int) -> None:
        alert = make_alert(f"s{n}")
        await store.put_alerts([alert], T0)
        opened = await store.open_incident(new_incident(f"s{n}"), [settlement(alert, Disposition.OPENED)])
        run = await store.begin_step(opened.id, 0, 1, "restart", "", "", T0, T0)
        ended = await store.end_step(run.id, SUCCEEDED, T0)
        read = await store.incident(opened.id)
        assert read is not None
        assert read.runs == (ended,)
        assert [stored.incident for stored in await store.alerts(service=f"s{n}")] == [opened.id]

    await asyncio.gather(*(one(n) for n in range(200)))
    assert len(await store.open_incidents()) == 200
    assert len(await store.journal(limit=1000)) == 600


async def test_an_answer_comes_only_after_the_commit(store: SqlStore, path: str) -> None:
    for n in range(20):
        opened = await store.open_incident(new_incident(f"s{n}"))
        # Another process's view.
        assert ask(path, "SELECT max(id) FROM incidents") == [(opened.id,)]


async def test_too_much_waiting_is_refused_and_ends_by_itself(path: str) -> None:
    store = await open_sqlite(path, capacity=10)
    gate = Gate(store._writer)
    waiting = [asyncio.ensure_future(store.put_alerts([make_alert(n=str(n))], T0)) for n in range(20)]
    await asyncio.sleep(0)
    with pytest.raises(StoreError, match="too much is waiting"):
        await store.put_alerts([make_alert()], T0)
    gate.open()
    results = await asyncio.gather(*waiting, return_exceptions=True)
    # One place is the gate's own.
    assert sum(isinstance(result, StoreError) for result in results) == 11
    assert (await store.put_alerts([make_alert()], T0)).new == 1
    # What alone is larger than the inbox is taken when nothing else waits.
    assert (await store.put_alerts([make_alert(m=str(m)) for m in range(50)], T0)).new == 50
    await store.close()


async def test_a_writer_who_gives_up_waiting_is_served_all_the_same(store: SqlStore) -> None:
    gate = Gate(store._writer)
    write = asyncio.ensure_future(store.put_alerts([make_alert()], T0))
    await asyncio.sleep(0)
    write.cancel()
    with pytest.raises(asyncio.CancelledError):
        await write
    gate.open()
    await gate.future
    await store.move_cursor("after", 1)
    assert len(await store.firing_alerts()) == 1


async def test_close_finishes_what_was_accepted(path: str) -> None:
    store = await open_sqlite(path)
    writes = [asyncio.ensure_future(store.put_alerts([make_alert(n=str(n))], T0)) for n in range(3000)]
    await asyncio.sleep(0)
    await asyncio.gather(store.close(), store.close())
    assert all(accepted.new == 1 for accepted in await asyncio.gather(*writes))
    assert ask(path, "SELECT count(*) FROM alerts") == [(3000,)]
    for call in (store.put_alerts([make_alert()], T0), store.firing_alerts()):
        with pytest.raises(StoreError, match="it is closed"):
            await call
    await store.close()


# A disk that fails.


@contextmanager
def no_file_larger_than(size: int) -> Iterator[None]:
    """Have the kernel refuse writes beyond this size, as a full disk does."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


async def fill(store: SqlStore) -> list[str]:
    """Put alerts until one is refused; the names of those that were not."""
    accepted: list[str] = []
    with pytest.raises(StoreError, match="cannot write to the database"):
        for n in range(10_000):
            await store.put_alerts([make_alert(f"s{n}", padding="x" * 2000)], T0)
            accepted.append(f"s{n}")
    return accepted


async def test_writes_beyond_the_limit_are_refused_and_go_on_when_there_is_room(store: SqlStore, path: str) -> None:
    with no_file_larger_than(1_000_000):
        accepted = await fill(store)
        together = [asyncio.ensure_future(store.put_alerts([make_alert(padding="y" * 9000)], T0)) for _ in range(20)]
        results = await asyncio.gather(*together, return_exceptions=True)
        assert {type(result) for result in results} == {UnavailableError}
        assert [stored.alert.labels["service"] for stored in await store.firing_alerts()] == accepted
    await store.put_alerts([make_alert("after")], T0)
    assert [stored.alert.labels["service"] for stored in await store.firing_alerts()] == [*accepted, "after"]
    assert ask(path, "PRAGMA integrity_check") == [("ok",)]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can mount a small file system")
async def test_a_full_disk_is_survived(tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(disk)], capture_output=True)
    if mounted.returncode != 0:
        pytest.skip("this machine lets nobody mount a small file system")
    try:
        store = await open_sqlite(str(disk / "remediator.db"))
        (disk / "ballast").write_bytes(b"x" * 600_000)
        accepted = await fill(store)
        (disk / "ballast").unlink()
        await store.put_alerts([make_alert("after")], T0)
        assert [stored.alert.labels["service"] for stored in await store.firing_alerts()] == [*accepted, "after"]
        await store.close()
    finally:
        subprocess.run(["umount", str(disk)], check=True)


async def test_a_database_locked_by_another_is_waited_for(store: SqlStore, path: str) -> None:
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    write = asyncio.ensure_future(store.put_alerts([make_alert()], T0))
    assert await store.firing_alerts() == []
    other.execute("COMMIT")
    other.close()
    assert (await write).new == 1


# Backups.


async def test_a_backup_is_one_moment_of_what_goes_on(store: SqlStore, path: str, tmp_path: Path) -> None:
    incident = await store.open_incident(new_incident())
    stop = asyncio.Event()

    async def write() -> None:
        for n in itertools.count():
            await store.put_alerts([make_alert(f"s{n}", part=part) for part in "ab"], T0)
            if stop.is_set():
                return

    writing = asyncio.create_task(write())
    copies = [str(tmp_path / f"copy{n}.db") for n in range(5)]
    for copy in copies:
        assert await asyncio.to_thread(back_up, path, copy) == os.path.getsize(copy)
        assert os.stat(copy).st_mode & 0o777 == 0o600
    stop.set()
    await writing
    counts = []
    for copy in copies:
        restored = await open_sqlite(copy)
        assert await restored.open_incidents() == [incident]
        counts.append(len(await restored.firing_alerts()))
        await restored.put_alerts([make_alert("after")], T0)
        await restored.close()
    assert counts == sorted(counts)
    assert all(count % 2 == 0 for count in counts)
    assert sorted(os.listdir(tmp_path))[:2] == ["copy0.db", "copy1.db"]
    assert not list(tmp_path.glob("*.part"))


def is_there(path: str, target: str) -> None:
    Path(target).write_text("precious")


def a_part_is_there(path: str, target: str) -> None:
    Path(f"{target}.part").write_text("precious")


def foreign(path: str, target: str) -> None:
    text_file(path)


def missing(path: str, target: str) -> None:
    os.unlink(path)


def no_folder(path: str, target: str) -> None:
    os.rmdir(os.path.dirname(target))


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (is_there, "it exists already; name another file"),
        (a_part_is_there, r"b\.db\.part is in the way"),
        (foreign, "not an SQLite database"),
        (missing, "there is none"),
        (no_folder, "there is no folder"),
    ],
)
async def test_a_backup_that_cannot_be_made_leaves_everything_as_it_was(
    path: str, tmp_path: Path, spoil: Callable[[str, str], None], reason: str
) -> None:
    await (await open_sqlite(path)).close()
    (tmp_path / "backups").mkdir()
    target = str(tmp_path / "backups" / "b.db")
    spoil(path, target)
    before = {file: file.read_bytes() for file in tmp_path.rglob("*") if file.is_file()}
    with pytest.raises(StoreError, match=f"cannot (back up|open) .*{reason}"):
        back_up(path, target)
    assert {file: file.read_bytes() for file in tmp_path.rglob("*") if file.is_file()} == before


async def test_a_full_disk_leaves_no_half_of_a_backup(store: SqlStore, path: str, tmp_path: Path) -> None:
    await store.put_alerts([make_alert(f"s{n}", padding="x" * 500) for n in range(1000)], T0)
    with no_file_larger_than(100_000), pytest.raises(StoreError, match="cannot back up the database"):
        back_up(path, str(tmp_path / "copy.db"))
    assert not list(tmp_path.glob("copy*"))


# History.


async def test_no_query_walks_through_all_that_is_kept(path: str) -> None:
    store = await open_sqlite(path)
    asked: set[str] = set()
    for connection in store._reader._connections:  # type: ignore[union-attr]
        connection._connection.set_trace_callback(asked.add)  # type: ignore[attr-defined]
    alert = make_alert()
    await store.put_alerts([alert], T0)
    await store.open_incident(new_incident())
    for service in ("", "checkout"):
        for flag in (False, True):
            await store.alerts(service=service, firing_only=flag, before=9)
            await store.incidents(service=service, open_only=flag, before=9)
        await store.journal(after=1, service=service)
        await store.recent_journal(service=service, before=9)
    for read in (
        store.alerts_since(1),
        store.firing_alerts(),
        store.alerts_with(alert.fingerprint),
        store.open_incidents(),
        store.incident(1),
        store.incident_summaries(T0),
        store.last_closed(T0),
        store.runs_since(T0),
        store.summary(),
        store.pauses(T0),
        store.journal(incident=1),
        store.journal_end(),
    ):
        await read
    await store.close()
    plans = {
        (question, str(step[3]))
        for question in asked
        if question.startswith(("SELECT", "\n"))
        for step in ask(path, f"EXPLAIN QUERY PLAN {question}")
    }
    assert len(asked) > 20
    # Two indexes hold only what is open or fires; a covering one is what a count walks through.
    few = "COVERING INDEX|INDEX one_open_incident_per_service|INDEX alerts_firing"
    walks = re.compile(rf"SCAN (alerts|incidents|step_runs|journal)(?! USING ({few}))")
    assert "\n".join(f"{step}: {question}" for question, step in plans if walks.match(step)) == ""


async def test_a_year_of_incidents_takes_no_more_than_what_is_kept_of_it(path: str) -> None:
    day, a_day, kept = 86400.0, 40, 10
    sizes = []
    store = await open_sqlite(path)
    for number in range(4 * kept):
        now = T0 + number * day
        for n in range(a_day):
            alert = make_alert(f"s{n}", starts_at=now)
            await store.put_alerts([alert], now)
            opened = await store.open_incident(new_incident(f"s{n}", at=now), [settlement(alert, Disposition.OPENED)])
            run = await store.begin_step(opened.id, 0, 1, "restart", "", "", now, now + 60)
            await store.end_step(run.id, SUCCEEDED, now + 5)
            await store.close_incident(opened.id, Verdict.RECOVERED, "", Health.HEALTHY, now + 60)
            await store.put_alerts([msgspec.structs.replace(alert, ends_at=now + 60)], now + 60)
        await store.forget(now - kept * day)
        sizes.append(ask(path, "PRAGMA page_count")[0][0])
    summary = await store.summary()
    await store.close()
    assert summary.verdicts == {"recovered": a_day * (kept + 1)}
    assert sizes[-1] <= 1.1 * sizes[kept + 1]


def test_a_commit_is_on_the_disk_when_it_is_answered(path: str) -> None:
    """NORMAL would lose what was acknowledged at a loss of power, which no kill of the process shows."""
    connection = open_database(path)
    full = 2
    assert connection.execute("PRAGMA synchronous").fetchone()[0] == full
    assert connection.execute("PRAGMA journal_mode").fetchone()[0] == "wal"
    connection.close()


async def test_a_database_without_space_is_not_available_and_one_that_is_wrong_is_not_so_called(tmp_path: Path) -> None:
    connection = open_database(str(tmp_path / "remediator.db"))
    pages = connection.execute("PRAGMA page_count").fetchone()[0]
    connection.execute(f"PRAGMA max_page_count = {pages}")
    with pytest.raises(sqlite3.OperationalError) as full:
        connection.execute("CREATE TABLE more AS SELECT zeroblob(100000)")
    connection.close()
    assert isinstance(_failure("cannot write", full.value), UnavailableError)
    assert isinstance(_failure("cannot write", OSError(errno.ENOSPC, "")), UnavailableError)
    for other in (sqlite3.OperationalError("no such table"), PermissionError(errno.EACCES, "")):
        assert not isinstance(_failure("cannot write", other), UnavailableError)
