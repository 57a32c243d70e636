"""Clock, randomness, ids, network, threads and signals: everything that is not a pure function of its input.

Owns every ambient effect of the program; a test forbids them anywhere else. An `Effects` is handed in at the
root (never a module global), so two worlds fit in one process and a simulation can replace it.

Two times (architecture.md): *machine time* is Trio's own clock; *market time* is `Effects.market`, integer
nanoseconds since the epoch, owned by the feed in recorded and simulated markets.
"""

from __future__ import annotations

import math
import os
import random
import socket
import ssl
import stat
import time
import weakref
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractContextManager
from datetime import date
from heapq import heappop, heappush
from pathlib import Path
from typing import TypeVar

import attrs
import numpy as np
import trio

from protocol.clock import NS, ist_date
from protocol.messages import Phase

T = TypeVar("T")


class MarketClock:
    """Market time and its alarms, driven by whoever plays the feed.

    An alarm is a callback that posts a message to an address: it belongs to that address, not to a task, and so
    outlives the actor that set it. Due alarms ring in (time, phase, symbol, rung) order, one at a time, so that
    the driver can let the tree settle between two of them.
    """

    def __init__(self, start_ns: int = 0, source: Callable[[], int] | None = None) -> None:
        """`source` gives the time of a live market; without one the feed owns it and says advance_to()."""
        self._now_ns = start_ns
        self._source = source
        self._sooner: trio.Event | None = None
        self._heap: list[tuple[int, int, str, int, int, str]] = []
        self._live: dict[str, tuple[int, Callable[[], None]]] = {}
        self._count = 0

    @property
    def now_ns(self) -> int:
        if self._source is not None:
            self._now_ns = max(self._now_ns, self._source())
        return self._now_ns

    @property
    def live(self) -> bool:
        """Whether it goes by itself, as the system's clock does."""
        return self._source is not None

    def alarm(self, name: str, at_ns: int, phase: Phase, symbol: str, rung: int, ring: Callable[[], None]) -> None:
        """Ring once at `at_ns`; an earlier alarm of the same name is replaced. A past time rings at once."""
        self._count += 1
        self._live[name] = (self._count, ring)
        heappush(self._heap, (at_ns, phase.value, symbol, rung, self._count, name))
        if self._sooner is not None:
            self._sooner.set()

    def cancel(self, name: str) -> None:
        """Forget the alarm; one that is not set is no error."""
        self._live.pop(name, None)

    def armed(self, name: str) -> bool:
        return name in self._live

    def next_due(self) -> int | None:
        """The time of the earliest alarm, None when there is none."""
        while self._heap:
            at_ns, _, _, _, count, name = self._heap[0]
            live = self._live.get(name)
            if live is not None and live[0] == count:
                return at_ns
            heappop(self._heap)
        return None

    def ring_next(self, until_ns: int) -> bool:
        """Ring the earliest alarm due at or before `until_ns`; False when there is none."""
        due = self.next_due()
        if due is None or due > until_ns:
            return False
        name = heappop(self._heap)[5]
        _, ring = self._live.pop(name)
        self._now_ns = max(self._now_ns, due)
        ring()
        return True

    async def ring_as_time_goes_by(self) -> None:
        """Ring every alarm of a live market when it is due, until cancelled."""
        while True:
            while self.ring_next(self.now_ns):
                await trio.lowlevel.checkpoint()
            due = self.next_due()
            self._sooner = trio.Event()
            with trio.move_on_after(math.inf if due is None else max(0.0, (due - self.now_ns) / NS)):
                await self._sooner.wait()

    def advance_to(self, at_ns: int) -> None:
        """The feed's instant. Market time never runs backwards."""
        self._now_ns = max(self._now_ns, at_ns)


@attrs.define(eq=False)
class Effects:
    """The ambient effects of one world. With a seed, randomness is the same in every run."""

    market: MarketClock = attrs.Factory(MarketClock)
    seed: str | None = None
    threads: bool = True
    _shields: weakref.WeakSet[trio.CancelScope] = attrs.field(factory=weakref.WeakSet, init=False)

    def rng(self, name: str) -> random.Random:
        """A source of its own per name: who asks first changes nothing for the others."""
        if self.seed is None:
            return random.Random(os.urandom(16))
        return random.Random(f"{self.seed}/{name}")

    def np_rng(self, name: str) -> np.random.Generator:
        """As rng, for arrays."""
        return np.random.default_rng(self.rng(name).getrandbits(128))

    def machine_ns(self) -> int:
        """A monotonic clock for measuring how long work took, in ns."""
        return time.perf_counter_ns()

    def wall_ns(self) -> int:
        """The system's clock, in ns since the epoch: for file names, backups and live markets."""
        return time.time_ns()

    def today(self) -> date:
        """The day in India by the system's clock."""
        return ist_date(time.time_ns())

    def shield(self) -> trio.CancelScope:
        """A shield that a simulated death of the process can lift again (reliability.md)."""
        scope = trio.CancelScope(shield=True)
        self._shields.add(scope)
        return scope

    async def run_blocking(self, work: Callable[[], T]) -> T:
        """Run blocking work in a thread, so that no actor waits; inline where a world has no threads."""
        if not self.threads:
            await trio.lowlevel.checkpoint()
            return work()
        return await trio.to_thread.run_sync(work)

    async def connect_tcp(self, host: str, port: int, *, tls: bool = False) -> trio.abc.Stream:
        """A stream to a server; with TLS its certificate and name are verified. Raises OSError when none answers."""
        stream = await trio.open_tcp_stream(host, port)
        if not tls:
            return stream
        context = ssl.create_default_context()
        return trio.SSLStream(stream, context, server_hostname=host, https_compatible=True)

    async def listen_tcp(self, port: int, host: str = "127.0.0.1") -> list[trio.SocketListener]:
        """Listeners on one address, the loopback unless another is named; port 0 takes any free one."""
        return list(await trio.open_tcp_listeners(port, host=host))

    async def serve_unix(
        self,
        path: Path,
        handler: Callable[[trio.SocketStream], Awaitable[object]],
        *,
        task_status: trio.TaskStatus[None],
    ) -> None:
        """Serve a local socket that only this user may open (mode 0600), until cancelled; the file is removed.

        A socket file that a killed process left behind is replaced. Raises OSError when the path is in use by
        something that is no socket.
        """
        if path.exists():
            if not stat.S_ISSOCK(path.stat().st_mode):
                raise OSError(f"{path} exists and is not a socket: move it away or choose another directory")
            path.unlink()
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as bound:
            before = os.umask(0o177)  # of the whole process: nothing may await until it is put back
            try:
                bound.bind(str(path))
            finally:
                os.umask(before)
            bound.listen(64)
            try:
                async with trio.open_nursery() as nursery:
                    listener = trio.SocketListener(trio.socket.from_stdlib_socket(bound))
                    await nursery.start(trio.serve_listeners, handler, [listener])
                    task_status.started()
            finally:
                path.unlink(missing_ok=True)

    async def connect_unix(self, path: Path) -> trio.SocketStream:
        """A stream to a local socket. Raises OSError when nobody serves it."""
        return await trio.open_unix_socket(str(path))


def machine_s() -> float:
    """Machine time: Trio's own clock in seconds, which a simulation may replace. Only differences mean anything."""
    return trio.current_time()


def signals(*numbers: int) -> AbstractContextManager[AsyncIterator[int]]:
    """Receive the given signals as an async iterator while the block runs."""
    return trio.open_signal_receiver(*numbers)


def exit_at_once(status: int) -> None:
    """End the process without any clean-up: the second interrupt, or an actor that will not stop."""
    os._exit(status)
