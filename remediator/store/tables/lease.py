"""The lease: which process leads, until when by the database's clock, and in which epoch.

It is for a database that several processes share. The leader renews it. Any process may claim an expired lease, which
begins a new epoch. A write that names an older epoch is refused, so a leader that was stopped and wakes up changes
nothing. (M. Kleppmann, "How to do distributed locking", 2016: the fencing token.)
"""

from __future__ import annotations

from remediator.errors import FencedError
from remediator.store.database import Database, Row
from remediator.store.interface import Lease

_READ = """
    SELECT *, CAST(extract(epoch FROM clock_timestamp()) AS DOUBLE PRECISION) AS clock FROM lease WHERE name = 'leader'
"""
_CLAIM = """
    UPDATE lease SET holder = ?, url = ?, epoch = epoch + 1, since = extract(epoch FROM clock_timestamp()),
        expires_at = extract(epoch FROM clock_timestamp()) + ?
    WHERE name = 'leader' AND expires_at <= extract(epoch FROM clock_timestamp())
"""
_RENEW = """
    UPDATE lease SET expires_at = extract(epoch FROM clock_timestamp()) + ? WHERE name = 'leader' AND epoch = ?
"""
_RELEASE = "UPDATE lease SET expires_at = 0 WHERE name = 'leader' AND epoch = ?"
_EPOCH = "SELECT epoch, holder FROM lease WHERE name = 'leader'"


def read(db: Database) -> Lease:
    """The current lease."""
    row: Row = db.execute(_READ).fetchone()
    return Lease(row["holder"], row["url"], row["epoch"], row["since"], row["expires_at"], row["clock"])


def claim(db: Database, holder: str, url: str, ttl: float) -> tuple[Lease, bool]:
    """Take the lease if it has expired. Returns the lease after that, and whether it was taken."""
    taken = db.execute(_CLAIM, (holder, url, ttl)).rowcount == 1
    return read(db), taken


def renew(db: Database, epoch: int, ttl: float) -> Lease:
    """Extend the lease of this epoch. Returns the lease after that, which another process may hold."""
    db.execute(_RENEW, (ttl, epoch))
    return read(db)


def release(db: Database, epoch: int) -> None:
    """Let the lease of this epoch expire now."""
    db.execute(_RELEASE, (epoch,))


class Fence:
    """Allows only writes of the epoch in which this process leads."""

    def __init__(self) -> None:
        self.epoch: int | None = None
        """The epoch in which this process leads. None while it does not lead."""

    def check(self, db: Database) -> None:
        """FencedError unless this process leads, by what the transaction sees."""
        row: Row = db.execute(_EPOCH).fetchone()
        if row["epoch"] != self.epoch:
            raise FencedError(f"cannot write to the database: {row['holder'] or 'nobody'} leads, not this process")
