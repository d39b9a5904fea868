"""`remediator backup FILE`: a copy of the store, taken while the daemon works on it."""

from __future__ import annotations

import argparse
from typing import Any


def add(commands: Any) -> None:
    """Declare the command."""
    parser = commands.add_parser(
        "backup",
        help="copy the store to a file, while the daemon works on it",
        description="Copy the store as it stands at one moment to a new file, checked and compact. To restore it, stop the daemon"
        " and put the copy in the place of its database. For a store in PostgreSQL use pg_dump.",
    )
    parser.add_argument("file", metavar="FILE", help="the copy; it must not exist yet")
    parser.add_argument("--config.file", dest="config_file", default="remediator.yml", metavar="FILE")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Copy the store."""
    from pathlib import Path

    from remediator.config.settings import load_config
    from remediator.errors import StoreError
    from remediator.store.sqlite import back_up

    storage = load_config(Path(args.config_file)).storage
    if storage.shared:
        raise StoreError(
            "cannot back up a store in PostgreSQL: use pg_dump --schema=remediator, or the server's own backups"
        )
    size = back_up(storage.path, args.file)
    print(f"backed up {storage.path} to {args.file}, {size} bytes")
    return 0
