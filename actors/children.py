"""The tasks of one supervisor's children: started in order and seen to readiness, ended in order and in time.

Owns the children's records, the shielded nursery they live in, the jobs that start them, and the queue of
deaths. Decides nothing: supervision.py reads the deaths and says what is to be started or stopped. Holds two
promises by itself: no incarnation is started before its predecessor's task has ended, and one that will not
end in time ends the process. A child that is not ready, and shall be, holds the market.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Sequence

import attrs
import trio

from actors.child import (
    ChildEvent,
    ChildSpec,
    ChildState,
    HandlerTimeout,
    Killed,
    NodeInfo,
    StartFailed,
    Surroundings,
)
from actors.incarnation import Incarnation, in_full, in_one_line
from effects import machine_s


@attrs.define(eq=False)
class Child:
    """What is remembered of a child from one incarnation to the next."""

    spec: ChildSpec
    dynamic: bool = False
    state: ChildState = ChildState.STOPPED
    incarnation: Incarnation | None = None
    predecessor: Incarnation | None = None  # of another child of this name, which has to end first
    leaving: bool = False
    removed: trio.Event = attrs.field(factory=trio.Event)
    failures: int = 0  # in a row; a long time up makes the next the first
    restarts: int = 0
    last_crash: str | None = None
    last_crash_s: float | None = None

    @property
    def name(self) -> str:
        return self.spec.name

    @property
    def alive(self) -> bool:
        return self.incarnation is not None and not self.incarnation.ended.is_set()

    @property
    def undisturbed(self) -> bool:
        """It is alive, and nobody is ending it."""
        life = self.incarnation
        if life is None or life.ended.is_set():
            return False
        return not life.expected and life.let_go_at_s is None

    @property
    def over(self) -> bool:
        """For good: it leaves, or its actor closed the address, so that nobody could reach a successor."""
        address = self.spec.address
        return self.leaving or self.state is ChildState.ENDED or (address is not None and address.closed)

    def info(self) -> NodeInfo:
        supervisor, address = self.spec.supervisor, self.spec.address
        up = self.state is ChildState.UP and self.incarnation is not None
        return NodeInfo(
            name=self.name,
            kind="supervisor" if supervisor is not None else "actor" if address is not None else "task",
            state=self.state,
            restarts=self.restarts,
            last_crash=self.last_crash,
            last_crash_s=self.last_crash_s,
            up_since_s=self.incarnation.up_since_s if up and self.incarnation is not None else None,
            depth=address.depth if address is not None else None,
            children=supervisor.snapshot().children if supervisor is not None else (),
        )


@attrs.define(eq=False)
class Job:
    """A start or restart under way: stop some, wait, then start the pending ones, each ready before the next.

    A child that dies on the way ends it: the control loop takes the job over together with the death.
    """

    pending: deque[Child]
    delay_s: float = 0.0
    stop: Sequence[Child] = ()
    first: bool = False  # part of the supervisor's own start, which is ready when no such job is left
    scope: trio.CancelScope = attrs.field(factory=trio.CancelScope)


class Children:
    """Used by one Supervisor, between its open() and close(). Times are machine time."""

    def __init__(self, owner: str, surroundings: Surroundings, *, parallel_stop: bool) -> None:
        self.owner = owner
        self.around = surroundings
        self.parallel_stop = parallel_stop
        self.by_name: dict[str, Child] = {}  # in order of start
        self.deaths: deque[tuple[Child, Incarnation]] = deque()  # at most one per living child
        self.jobs: list[Job] = []
        self.running = False
        self._bell = trio.Event()
        self._stop_by_s = math.inf
        self._control: trio.Nursery
        self._host: trio.Nursery

    def open(self, control: trio.Nursery, host: trio.Nursery) -> None:
        """Jobs run in `control`, where a cancel from above reaches them; the children live in `host`."""
        self._control, self._host = control, host
        self._stop_by_s = math.inf
        self.deaths.clear()
        self.jobs.clear()
        self.running = True

    def close(self) -> None:
        """All have ended. Those that wait for a restart wait for the supervisor's own."""
        self.running = False
        for child in list(self.by_name.values()):
            self.around.in_flight.release(child.name)
            if child.state is not ChildState.ENDED:
                child.state = ChildState.STOPPED
                if child.over:
                    self.remove(child)

    async def news(self) -> None:
        """Until a child has died, or a job is done."""
        await self._bell.wait()
        self._bell = trio.Event()

    def tell(self, event: ChildEvent, child: str, detail: str = "") -> None:
        self.around.on_event(event, child, detail)

    # --- starting -------------------------------------------------------------------------------------

    def begin(self, job: Job, state: ChildState = ChildState.WAITING, *, hold: bool = True) -> None:
        """Carry a job out, besides those under way. Unless told otherwise, the market waits for them."""
        for child in job.pending:
            child.state = state
            if hold:
                self.around.in_flight.hold(child.name)
            else:
                self.around.in_flight.release(child.name)
        if job.pending:
            self.jobs.append(job)
            self._control.start_soon(self._carry_out, job, name=f"{self.owner} starts")

    def take_over(self, children: Sequence[Child]) -> tuple[list[Child], bool]:
        """End the jobs in which one of these is pending. Returns what else was pending, and Job.first."""
        waiting: list[Child] = []
        first = False
        for job in [job for job in self.jobs if any(child in job.pending for child in children)]:
            self.jobs.remove(job)
            job.scope.cancel()
            first = first or job.first
            waiting += [child for child in job.pending if child not in children]
        return waiting, first

    async def _carry_out(self, job: Job) -> None:
        with job.scope:
            await self.stop_in_order(job.stop)
            await trio.sleep(job.delay_s)
            while job.pending:
                if not await self._start(job.pending[0]):
                    return  # its death is on the way, and takes the job over
                # Readiness and a death can come in one step; the control loop may have seen them before us.
                await trio.lowlevel.checkpoint_if_cancelled()
                job.pending.popleft()
            self.jobs.remove(job)
            self._bell.set()

    async def _start(self, child: Child) -> bool:
        """Start it and wait until it is ready, or turns out to be over. False when it ends first."""
        if child.predecessor is not None:
            await child.predecessor.ended.wait()
            await trio.lowlevel.checkpoint_if_cancelled()
        if child.leaving:
            return True
        assert not child.alive, f"{child.name} would have two incarnations"
        incarnation = Incarnation(child.spec, lambda: self._on_ready(child), lambda ended: self._on_end(child, ended))
        child.incarnation = incarnation
        child.state = ChildState.STARTING
        self._host.start_soon(incarnation.live, name=child.name)
        allowed_s = child.spec.start_timeout_s
        with trio.move_on_after(allowed_s):
            await incarnation.decided.wait()
        if not incarnation.decided.is_set():
            incarnation.let_go(StartFailed(f"{child.name} was not ready within {allowed_s:g} s"))
            await self._see_out(incarnation)
        return incarnation.ready and incarnation.let_go_at_s is None

    def _on_ready(self, child: Child) -> None:
        assert child.incarnation is not None
        if child.incarnation.let_go_at_s is None:  # one that is being ended is not up, and the market waits on
            child.state = ChildState.UP
            self.around.in_flight.release(child.name)
            self.tell(ChildEvent.STARTED, child.name)

    # --- ending ---------------------------------------------------------------------------------------

    def let_go(self, child: Child, verdict: Exception | None = None) -> None:
        """Cancel the living incarnation and see it end in time. Without a verdict it is a stop."""
        assert child.incarnation is not None
        if verdict is None:
            child.incarnation.expected = True
        child.state = ChildState.STOPPING
        child.incarnation.let_go(verdict)
        self._control.start_soon(self._see_out, child.incarnation)

    def remove(self, child: Child) -> None:
        """It is over for good. A new one of its name may have taken its place already."""
        self.tell(ChildEvent.ENDED, child.name)
        child.leaving = True
        child.state = ChildState.ENDED
        if child.spec.address is not None:
            child.spec.address.close()
        if self.by_name.get(child.name) is child:
            self.around.in_flight.release(child.name)
            if child.dynamic:
                del self.by_name[child.name]
        child.removed.set()

    async def stop_in_order(self, children: Sequence[Child]) -> None:
        """Last started first, each ended before the next is told to; all at once with parallel_stop."""
        living: list[Incarnation] = []
        for child in reversed(children):
            for incarnation in (child.incarnation, child.predecessor):
                if incarnation is not None and not incarnation.ended.is_set():
                    incarnation.expected = True
                    living.append(incarnation)
            if child.alive:
                child.state = ChildState.STOPPING
        if self.parallel_stop:
            for incarnation in living:
                incarnation.let_go()
        for incarnation in living:
            incarnation.let_go()
            await self._see_out(incarnation)

    async def stop_all(self, within_s: float) -> None:
        """The last stop; what is left of `within_s` bounds the deadline of each child."""
        self.running = False
        self._stop_by_s = machine_s() + within_s
        await self.stop_in_order(list(self.by_name.values()))

    async def _see_out(self, incarnation: Incarnation) -> None:
        """Until an incarnation that was told to end has ended. One that does not in time ends the process."""
        assert incarnation.let_go_at_s is not None
        allowed_s = incarnation.spec.stop_budget_s
        with trio.move_on_at(min(incarnation.let_go_at_s + allowed_s, self._stop_by_s)):
            await incarnation.ended.wait()
        if not incarnation.ended.is_set():
            if not incarnation.outstayed:
                incarnation.outstayed = True
                waited_s = machine_s() - incarnation.let_go_at_s
                reason = f"{incarnation.spec.name} did not end within {waited_s:.3g} s of being told to"
                self.tell(ChildEvent.STOPPED_LATE, incarnation.spec.name, reason)
                self.around.give_up_process(reason)
            await incarnation.ended.wait()

    def _on_end(self, child: Child, incarnation: Incarnation) -> None:
        """Called by an incarnation as the last thing it does."""
        crash = incarnation.crash
        if crash is not None:
            child.last_crash = in_one_line(crash)
            child.last_crash_s = machine_s()
            self.tell(_TOLD_AS.get(type(crash), ChildEvent.CRASHED), child.name, in_full(crash))
        if incarnation.expected:
            child.state = ChildState.STOPPED
            self.tell(ChildEvent.STOPPED, child.name)
        elif self.running:
            child.state = ChildState.WAITING
            self.around.in_flight.hold(child.name)
        self.deaths.append((child, incarnation))
        self._bell.set()


_TOLD_AS: dict[type[BaseException], ChildEvent] = {
    Killed: ChildEvent.KILLED,
    HandlerTimeout: ChildEvent.HUNG,
}
