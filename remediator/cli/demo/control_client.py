"""The command with which rules and people control the demo's services: `./fleet VERB NAME` in the demo's folder.

    restart NAME · scale NAME COUNT · replicas NAME · deploy NAME RELEASE · rollback NAME · diagnose NAME
    inject NAME errors|slow|leak · crash NAME · demand NAME FACTOR

Exit codes: 0 done, 1 not done (a sentence on stderr says why), 2 there is nobody to ask.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import sys
from collections.abc import Iterator
from pathlib import Path


@contextlib.contextmanager
def socket_in(folder: Path) -> Iterator[str]:
    """A short path of the socket in `folder`: the system limits a socket's path to 107 bytes."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        yield f"/proc/self/fd/{descriptor}/control.sock"
    finally:
        os.close(descriptor)


def ask(folder: Path, words: list[str]) -> tuple[int, str]:
    """Send a command to the demo in `folder`. Returns its exit code and sentence."""
    with socket.socket(socket.AF_UNIX) as connection:
        try:
            with socket_in(folder) as path:
                connection.connect(path)
            connection.sendall(json.dumps(words).encode() + b"\n")
            with connection.makefile("rb") as answer:
                line = answer.readline()
        except OSError as error:
            return 2, f"cannot reach the demo in {folder}: {error}"
    if not line:
        return 2, "the demo ended before it answered"
    code, text = json.loads(line)
    return code, text


def main() -> int:
    """`--folder DIR` comes first; the remaining arguments are sent to the demo."""
    arguments = sys.argv[1:]
    if len(arguments) < 3 or arguments[0] != "--folder":
        print(__doc__, file=sys.stderr)
        return 2
    code, text = ask(Path(arguments[1]), arguments[2:])
    print(text, file=sys.stderr if code else sys.stdout)
    return code


if __name__ == "__main__":
    raise SystemExit(main())
