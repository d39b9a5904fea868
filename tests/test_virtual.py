"""The virtual clock itself: it stands still for work, leaps over waiting, and keeps the order of deadlines."""

import asyncio
import threading

import pytest
from virtual import VirtualClock


async def test_waiting_takes_virtual_time_only():
    clock = VirtualClock(100.0)
    seen = []

    async def tick(name, every):
        while True:
            await clock.sleep(every)
            seen.append((name, clock.now()))

    tasks = [asyncio.create_task(tick("a", 10)), asyncio.create_task(tick("b", 15))]
    await clock.run_for(30)
    assert seen == [("a", 110.0), ("b", 115.0), ("a", 120.0), ("b", 130.0), ("a", 130.0)]
    assert clock.now() == 130.0
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def test_an_event_ends_a_wait_at_once_and_its_deadline_is_forgotten():
    clock = VirtualClock(0.0)
    event = asyncio.Event()
    task = asyncio.create_task(clock.wait(event, 50))
    await clock.settle()
    event.set()
    await clock.settle()
    assert task.done()
    with pytest.raises(AssertionError, match="nothing waits"):
        await clock.run_until(lambda: False)
    assert clock.now() == 0.0


async def test_time_stands_still_while_a_thread_works():
    clock = VirtualClock(0.0)
    gate, started = threading.Event(), threading.Event()
    seen = []

    def work():
        started.set()
        gate.wait(10)
        return clock.now()

    async def worker():
        seen.append(await asyncio.to_thread(work))

    sleeper = asyncio.create_task(clock.sleep(5))
    task = asyncio.create_task(worker())
    runner = asyncio.create_task(clock.run_for(5))
    while not started.is_set():
        await asyncio.sleep(0)
    assert clock.now() == 0.0
    gate.set()
    await runner
    assert seen == [0.0]
    assert sleeper.done()
    await task


async def test_time_stands_still_during_an_attended_call():
    clock = VirtualClock(0.0)

    class Store:
        name = "store"

        async def put(self, value):
            done = asyncio.get_running_loop().create_future()
            threading.Timer(0.02, lambda: done.get_loop().call_soon_threadsafe(done.set_result, value)).start()
            return await done, clock.now()

    store = clock.attended(Store())
    task = asyncio.create_task(store.put(7))
    await clock.run_for(1)
    assert task.result() == (7, 0.0)
    assert store.name == "store"
