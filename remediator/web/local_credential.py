"""The credential of this machine: a token in a file beside the store, which only the user that serves can read.

Without users of a web config, requests that change something need it. The command line reads the file by itself.
"""

from __future__ import annotations

import contextlib
import os
import re
import secrets
import stat

from remediator.errors import RemediatorError

_TOKEN = re.compile(r"remediator_[A-Za-z0-9_-]{43}", re.ASCII)


def credential_path(database: str) -> str:
    """The file of the token that lies beside this file, such as a database."""
    return f"{os.path.realpath(database)}.token"


def ensure_credential(path: str) -> str:
    """The token of this file, which is created if it is missing. RemediatorError if it cannot be created, or if others
    may read it."""
    try:
        with contextlib.suppress(FileExistsError):
            _create(path)
        return read_credential(path)
    except OSError as error:
        raise RemediatorError(f"cannot make the credential {path}: {error.strerror or error}") from None


def read_credential(path: str, owner: int | None = None) -> str:
    """The token in a file. OSError if it cannot be read.

    RemediatorError if it is no such file, if others may read it, or if it does not belong to `owner` (a user id; by
    default this user's).
    """
    file = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        found = os.fstat(file)
        text = os.read(file, 200).decode(errors="replace").strip() if stat.S_ISREG(found.st_mode) else ""
    finally:
        os.close(file)
    if found.st_uid != (os.geteuid() if owner is None else owner):
        raise RemediatorError(f"cannot use the credential {path}: it belongs to another user")
    if found.st_mode & 0o077:
        mode = stat.S_IMODE(found.st_mode)
        raise RemediatorError(
            f"cannot use the credential {path}: others may read it (mode {mode:04o}); delete it and restart"
        )
    if not _TOKEN.fullmatch(text):
        raise RemediatorError(
            f"cannot use the credential {path}: it holds no token of remediator; delete it and restart"
        )
    return text


def _create(path: str) -> None:
    """Make the file as a whole, so that nobody sees it half written under its name."""
    part = f"{path}.{secrets.token_hex(8)}.part"
    file = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        os.fchmod(file, 0o600)
        os.write(file, f"remediator_{secrets.token_urlsafe(32)}\n".encode())
        os.fsync(file)
        os.link(part, path)
    finally:
        os.close(file)
        os.unlink(part)
