"""A supervisor: which children there are, and what follows when one dies.

Owns the decisions: nothing follows, a restart after a back-off, or giving up. A death is a message to the
control loop; crashes never travel through a nursery. The children live in a shielded nursery (children.py),
so a cancel from above reaches only the control loop, which stops them one by one, last started first. Never
touches an actor's state or its messages. The tree is built of these; the gateway and tests ask it to kill and
to show itself.

Modelled on Erlang/OTP's supervisor. All times are machine time, in seconds.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterable

import trio

from actors.child import (
    ChildEvent,
    ChildSpec,
    ChildState,
    HandlerTimeout,
    Killed,
    Limits,
    NodeInfo,
    Restart,
    RestartLimit,
    Returned,
    Strategy,
    Surroundings,
)
from actors.children import Child, Children, Job
from actors.incarnation import Incarnation, in_one_line
from effects import machine_s

WATCHDOG_LOOKS_EVERY_S = 5.0  # and when a message in hand comes due; late only for a child just added
STOP_SLACK_S = 0.5  # a supervisor's own part of the time that its children may take to stop


class Supervisor:
    """A node of the tree; the one that is nobody's child is the root and watches over all actors' deadlines.

    `escalate=False` never gives up: a child that keeps failing waits ever longer, up to the longest back-off,
    and then no longer holds the market. `retry_given_up_s`: a child that gave up, or died too often, is tried
    again after that time, and the supervisor goes on without it. `parallel_stop` stops all children at once.
    `stop_all_s` bounds the whole ordered stop.
    """

    def __init__(
        self,
        name: str,
        specs: Iterable[ChildSpec] = (),
        *,
        surroundings: Surroundings,
        strategy: Strategy = Strategy.ONE_FOR_ONE,
        limits: Limits | None = None,
        escalate: bool = True,
        retry_given_up_s: float | None = None,
        parallel_stop: bool = False,
        stop_all_s: float = math.inf,
    ) -> None:
        assert retry_given_up_s is None or strategy is Strategy.ONE_FOR_ONE, f"{name}: a group is not given up"
        self.name = name
        self.strategy = strategy
        self.limits = limits or Limits()
        self.escalate = escalate
        self.retry_given_up_s = retry_given_up_s
        self.stop_all_s = stop_all_s
        self._around = surroundings
        self._children = Children(name, surroundings, parallel_stop=parallel_stop)
        for spec in specs:
            assert spec.name not in self._children.by_name, f"{name} has two children called {spec.name}"
            self._children.by_name[spec.name] = Child(spec)
        self._is_root = True
        self._state = ChildState.STOPPED
        self._restarts: deque[float] = deque()  # when, within the window; at most `intensity`

    # --- what others ask ------------------------------------------------------------------------------

    def as_child(self, *, restart: Restart = Restart.PERMANENT) -> ChildSpec:
        """The spec of this supervisor under another. Its children's deadlines bound start and stop."""
        self._is_root = False
        return ChildSpec(name=self.name, run=self.run, restart=restart, start_timeout_s=math.inf, supervisor=self)

    def start_child(self, spec: ChildSpec) -> None:
        """Add a child, remembered over restarts of this supervisor until it finishes or is stopped.

        Returns once it is registered: its address is usable, and its start goes on by itself, after the end
        of a child of the same name that is still ending. Raises ValueError when there is one that is not
        ending.
        """
        children = self._children
        child = Child(spec, dynamic=True)
        old = children.by_name.get(spec.name)
        if old is not None:
            if not old.over:
                raise ValueError(f"{self.name} already has a child {spec.name}: it is {old.state.value}")
            old.leaving = True
            child.predecessor = old.incarnation if old.alive else old.predecessor
            del children.by_name[spec.name]
        children.by_name[spec.name] = child
        if children.running:
            children.begin(Job(deque([child])))

    async def stop_child(self, name: str) -> bool:
        """End a child for good and close its address. False when there is none of that name.

        Returns after its task has ended; so never call it from within that child.
        """
        child = self._children.by_name.get(name)
        if child is None or child.state is ChildState.ENDED:
            return False
        child.leaving = True
        if child.alive:
            self._children.let_go(child)
            await child.removed.wait()
        else:
            self._children.remove(child)
        return True

    def kill(self, name: str) -> bool:
        """End an incarnation anywhere below, by the child's full name; its supervisor treats it as a crash.

        False when there is no such child, when it is not alive (it waits for a restart, or was given up), or
        when it is being ended already.
        """
        child = self._children.by_name.get(name)
        if child is None:
            below = [child.spec.supervisor for child in self._children.by_name.values()]
            return any(supervisor.kill(name) for supervisor in below if supervisor is not None)
        if not child.undisturbed or not self._children.running:
            return False
        self._around.in_flight.hold(name)
        self._children.let_go(child, Killed(f"{name} was killed from outside"))
        return True

    def has_child(self, name: str) -> bool:
        """Whether a direct child of that name is there or will be again."""
        child = self._children.by_name.get(name)
        return child is not None and not child.over

    def snapshot(self) -> NodeInfo:
        """This supervisor and all below, as they are now."""
        return NodeInfo(
            name=self.name,
            kind="supervisor",
            state=self._state,
            children=tuple(child.info() for child in self._children.by_name.values()),
        )

    @property
    def stop_budget_s(self) -> float:
        """How long an ordered stop may take: what its living children may, one by one or all at once."""
        each = [child.spec.stop_budget_s for child in self._children.by_name.values() if child.alive]
        return (max(each, default=0.0) if self._children.parallel_stop else sum(each)) + STOP_SLACK_S

    # --- its life -------------------------------------------------------------------------------------

    async def run(self, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Until cancelled, which stops the children in order. Ready when they are. Raises RestartLimit."""
        assert self._state is ChildState.STOPPED, f"{self.name} runs already"
        gave_up: RestartLimit | None = None
        async with trio.open_nursery() as control:
            with self._around.shield():  # cancelled in here, nobody would be left to end the host
                host: trio.Nursery = await control.start(self._host_children)
            self._begin(control, host)
            try:
                gave_up = await self._see_deaths(task_status)
            finally:
                self._state = ChildState.STOPPING
                try:
                    with self._around.shield():
                        await self._children.stop_all(self.stop_all_s)
                finally:
                    self._end(gave_up)
                    host.cancel_scope.cancel()
                    control.cancel_scope.cancel()
        if gave_up is not None:
            raise gave_up

    async def _host_children(self, task_status: trio.TaskStatus[trio.Nursery]) -> None:
        with self._around.shield():
            async with trio.open_nursery() as host:
                task_status.started(host)
                await trio.sleep_forever()

    def _begin(self, control: trio.Nursery, host: trio.Nursery) -> None:
        self._state = ChildState.STARTING
        self._restarts.clear()
        self._children.open(control, host)
        wanted = [child for child in self._children.by_name.values() if not child.over]
        for child in wanted:
            child.failures = 0
        self._children.begin(Job(deque(child for child in wanted if not child.dynamic), first=True))
        for child in wanted:
            if child.dynamic:
                self._children.begin(Job(deque([child])))
        if self._is_root:
            control.start_soon(self._watch, name=f"{self.name} watchdog")

    def _end(self, gave_up: RestartLimit | None) -> None:
        if gave_up is not None and not self._is_root:
            self._around.in_flight.hold(self.name)  # until our parent has decided: no gap between its hold and ours
        self._children.close()
        self._state = ChildState.STOPPED

    async def _see_deaths(self, task_status: trio.TaskStatus[None]) -> RestartLimit | None:
        """The control loop. Returns why it gives up; otherwise runs until cancelled."""
        children = self._children
        while True:
            while children.deaths:
                gave_up = self._decide(*children.deaths.popleft())
                if gave_up is not None:
                    return gave_up
            if self._state is ChildState.STARTING and not any(job.first for job in children.jobs):
                self._state = ChildState.UP
                task_status.started()
            await children.news()

    # --- what follows a death -------------------------------------------------------------------------

    def _decide(self, child: Child, incarnation: Incarnation) -> RestartLimit | None:
        """What follows the end of an incarnation. Returns why the supervisor gives up, if it does."""
        crash, restart = incarnation.crash, child.spec.restart
        for_good = restart is Restart.TEMPORARY or (restart is Restart.TRANSIENT and crash is None)
        if incarnation.expected and not child.leaving:
            return None  # whoever stopped it goes on with it
        if for_good or child.over:
            waiting, first = self._children.take_over([child])
            self._children.remove(child)
            self._children.begin(Job(deque(waiting), first=first))
            return None
        if crash is None:
            crash = Returned(f"{child.name} returned, but is meant to run until it is stopped")
        if isinstance(crash, RestartLimit) and self.retry_given_up_s is not None:
            self._retry_later(child, self.retry_given_up_s)
            return None
        now_s = machine_s()
        if not self._within_limits(now_s):
            text = (
                f"{self.name}: more than {self.limits.intensity} restarts within {self.limits.window_s:g} s, "
                f"the last of {child.name} after {in_one_line(crash)}"
            )
            if self.retry_given_up_s is not None:
                self._children.tell(ChildEvent.GAVE_UP, child.name, text)
                self._retry_later(child, self.retry_given_up_s)
                return None
            if self.escalate:
                self._children.tell(ChildEvent.GAVE_UP, self.name, text)
                limit = RestartLimit(text)
                limit.__cause__ = crash
                return limit
        if now_s - incarnation.up_since_s >= self.limits.reset_after_s:
            child.failures = 0
        child.failures += 1
        self._restart(child)
        return None

    def _within_limits(self, now_s: float) -> bool:
        """Count one more restart, unless the window that ends now has as many as it may."""
        while self._restarts and self._restarts[0] <= now_s - self.limits.window_s:
            self._restarts.popleft()
        if len(self._restarts) >= self.limits.intensity:
            return False
        self._restarts.append(now_s)
        return True

    def _retry_later(self, child: Child, delay_s: float) -> None:
        """A child that gave up is tried again by itself; neither the market nor the others wait for it."""
        child.failures = 0
        self._tell_restart(child, delay_s)
        waiting, first = self._children.take_over([child])
        self._children.begin(Job(deque(waiting), first=first))
        self._children.begin(Job(deque([child]), delay_s), ChildState.GIVEN_UP, hold=False)

    def _restart(self, child: Child) -> None:
        """Restart a child after its back-off, with those its strategy names and those that wait for them."""
        delay_s = self.limits.delay_s(child.failures, self._around.rng)
        self._tell_restart(child, delay_s)
        hold = self.escalate or child.failures <= self.limits.intensity
        group = self._group(child)
        waiting, first = self._children.take_over(group)
        if self.strategy is Strategy.ONE_FOR_ONE and not self.escalate:
            self._children.begin(Job(deque(waiting), first=first))
            waiting, first = [], False
        others = [other for other in group if other is not child]
        for other in others:
            if other.incarnation is not None:
                other.incarnation.expected = True  # a death at the same moment is part of this one
                other.leaving = other.spec.restart is Restart.TEMPORARY
        again = [each for each in group if not each.leaving] + waiting
        in_order = deque(each for each in self._children.by_name.values() if each in again)
        self._children.begin(Job(in_order, delay_s, others, first), hold=hold)

    def _group(self, child: Child) -> list[Child]:
        if self.strategy is Strategy.ONE_FOR_ONE:
            return [child]
        there = [each for each in self._children.by_name.values() if each.alive or not each.over]
        return there if self.strategy is Strategy.ONE_FOR_ALL else there[there.index(child) :]

    def _tell_restart(self, child: Child, delay_s: float) -> None:
        child.restarts += 1
        self._children.tell(ChildEvent.RESTARTING, child.name, f"in {delay_s:.3g} s")

    # --- the watchdog ---------------------------------------------------------------------------------

    async def _watch(self) -> None:
        while True:  # noqa: ASYNC110 - a deadline comes nearer by itself; nothing would set an event
            await trio.sleep_until(self._end_the_hung(machine_s()))

    def _end_the_hung(self, now_s: float) -> float:
        """Cancel the actors below that have had a message in hand too long. Returns when to look again."""
        look_s = now_s + WATCHDOG_LOOKS_EVERY_S
        for child in self._children.by_name.values():
            spec = child.spec
            if spec.supervisor is not None:
                look_s = min(look_s, spec.supervisor._end_the_hung(now_s))
            elif spec.address is not None:
                since_s = spec.address.in_hand_since if child.undisturbed else None
                due_s = (now_s if since_s is None else since_s) + spec.handler_timeout_s
                if due_s <= now_s and self._children.running:
                    spec.address.overdue = True
                    reason = f"{spec.name} had a message in hand for more than {spec.handler_timeout_s:g} s"
                    self._children.let_go(child, HandlerTimeout(reason))
                    due_s = now_s + spec.handler_timeout_s  # of its successor, at the earliest
                if due_s > now_s:
                    look_s = min(look_s, due_s)
        return look_s
