"""The web's thread pool, for work that would block the event loop: hashing, big bodies, big pages."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")

# A pool of its own, so that slow queries elsewhere never delay the webhook.
_POOL = ThreadPoolExecutor(max_workers=3, thread_name_prefix="web")


async def in_thread(function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Run a function in one of the threads and wait for it."""
    return await asyncio.get_running_loop().run_in_executor(_POOL, partial(function, *args, **kwargs))
