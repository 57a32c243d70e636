"""Supervision under whatever comes: crashes, kills, hangs, slow starts and slow stops, drawn by hypothesis.

One tree of actors is driven through a drawn plan on a virtual clock. What has to hold in each: never two
incarnations of one child; start and stop in order; every message handled, and acknowledged once, in order; the
window of restarts exact; the market held whenever a child is away, and free at the end.
"""

from __future__ import annotations

import itertools
import random
from typing import Any

import attrs
import trio
import trio.testing
from hypothesis import given, settings
from hypothesis import strategies as draw

from actors.actor import Actor
from actors.child import ChildEvent, Limits, Restart, RestartLimit, Strategy, Surroundings, actor_child
from actors.mailbox import Address, InFlight
from actors.supervision import Supervisor

HANDLER_TIMEOUT_S = 1.0
START_TIMEOUT_S = 1.0
QUIET_S = 400.0  # longer than any back-off: afterwards everything that can be up is up


@attrs.frozen
class Life:
    """How one incarnation starts and stops; an actor that has used up its drawn lives has easy ones."""

    start: str = "ready"  # or "crash", "late", "returns"
    start_s: float = 0.0
    stop_s: float = 0.0


@attrs.frozen
class Step:
    """After `after_s`, something befalls the child: a kill, or a message with the fates of its first deliveries."""

    after_s: float
    child: int
    fates: tuple[str, ...] | None  # None: a kill


@attrs.frozen
class Plan:
    strategy: Strategy
    parallel_stop: bool
    limits: Limits
    children: tuple[tuple[Restart, tuple[Life, ...]], ...]
    steps: tuple[Step, ...]
    seed: int


TENTHS = draw.integers(0, 9).map(lambda tenths: tenths / 10)
LIVES = draw.builds(Life, draw.sampled_from(["ready"] * 5 + ["crash", "late", "returns"]), TENTHS, TENTHS)
RESTARTS = draw.sampled_from([Restart.PERMANENT] * 4 + [Restart.TRANSIENT, Restart.TEMPORARY])
# Two bad deliveries at most: the third crash would rightly make the message a dead letter.
FATES = draw.lists(draw.sampled_from(["crash", "hang", "slow", "helper crash"]), max_size=2).map(tuple)
STEPS = draw.builds(Step, TENTHS, draw.integers(0, 4), draw.none() | FATES)
LIMITS = draw.builds(
    Limits,
    intensity=draw.sampled_from([1, 3, 10]),
    window_s=draw.sampled_from([2.0, 20.0]),
    backoff_base_s=draw.sampled_from([0.0, 0.1]),
)
PLANS = draw.builds(
    Plan,
    draw.sampled_from(list(Strategy)),
    draw.booleans(),
    LIMITS,
    draw.lists(draw.tuples(RESTARTS, draw.lists(LIVES, max_size=4).map(tuple)), min_size=1, max_size=5).map(tuple),
    draw.lists(STEPS, min_size=4, max_size=25).map(tuple),
    draw.integers(0, 3),
)


class Observed(Address):
    """An address that writes down what is acknowledged."""

    def __init__(self, name: str, in_flight: InFlight, dead: list[object]) -> None:
        super().__init__(name, in_flight=in_flight, dead_letters=lambda _, message, text: dead.append(message))
        self.posted: list[Any] = []
        self.handled: list[Any] = []
        self.acknowledged: list[Any] = []

    def ack(self, answer: Any = None) -> None:
        if not self.closed:
            self.acknowledged.append(self.handled[-1])
        super().ack(answer)


@attrs.define
class Run:
    """One plan played: the tree, and everything that was seen of it."""

    plan: Plan
    in_flight: InFlight = attrs.field(factory=InFlight)
    log: list[tuple[float, ChildEvent, str]] = attrs.field(factory=list)
    alive: list[str] = attrs.field(factory=list)
    faults: list[str] = attrs.field(factory=list)
    dead: list[object] = attrs.field(factory=list)
    addresses: dict[str, Observed] = attrs.field(factory=dict)
    gave_up: bool = False
    stopping_at: int | None = None  # where in the log the ordered stop began

    def observe(self, event: ChildEvent, child: str, detail: str) -> None:
        self.log.append((trio.current_time(), event, child))
        if event is ChildEvent.RESTARTING and self.in_flight.count == 0:
            self.faults.append(f"nobody held the market when {child} was to be restarted")

    def check(self, fine: bool, fault: str) -> None:
        if not fine:
            self.faults.append(fault)

    async def play(self) -> None:
        names = "abcde"[: len(self.plan.children)]
        specs = []
        for name, (restart, lives) in zip(names, self.plan.children, strict=True):
            address = self.addresses[name] = Observed(name, self.in_flight, self.dead)
            rest = iter(lives)
            specs.append(
                actor_child(
                    lambda own, rest=rest: Fated(own, next(rest, Life()), self),  # type: ignore[misc]
                    address,
                    restart=restart,
                    start_timeout_s=START_TIMEOUT_S,
                    handler_timeout_s=HANDLER_TIMEOUT_S,
                )
            )
        root = Supervisor(
            "root",
            specs,
            surroundings=Surroundings(
                shield=lambda: trio.CancelScope(shield=True),
                rng=random.Random(self.plan.seed),
                in_flight=self.in_flight,
                on_event=self.observe,
            ),
            strategy=self.plan.strategy,
            limits=self.plan.limits,
            parallel_stop=self.plan.parallel_stop,
        )
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(root.run)
                await self.take_steps(root, names)
                await trio.sleep(QUIET_S)
                self.stopping_at = len(self.log)
                nursery.cancel_scope.cancel()
        except* RestartLimit:
            self.gave_up = True

    async def take_steps(self, root: Supervisor, names: str) -> None:
        numbers = itertools.count()
        for step in self.plan.steps:
            await trio.sleep(step.after_s)
            name = names[step.child % len(names)]
            address = self.addresses[name]
            if step.fates is None:
                root.kill(name)
            elif not address.closed:
                message = (next(numbers), iter(step.fates))
                address.posted.append(message)
                address.post(message)


class Fated(Actor):
    """Lives as drawn, and writes down that it does."""

    def __init__(self, address: Address, life: Life, run: Run) -> None:
        super().__init__(address)
        self.life = life
        self.seen_by = run

    async def recover(self) -> None:
        run, name = self.seen_by, self.address.name
        run.check(name not in run.alive, f"two incarnations of {name}")
        if run.plan.strategy is not Strategy.ONE_FOR_ONE:
            later = [other for other in run.alive if other > name]
            run.check(not later, f"{name} started while {later} lived")
        run.alive.append(name)
        self.nursery.start_soon(self.linger)
        await trio.lowlevel.checkpoint()
        await trio.sleep(self.life.start_s)
        if self.life.start == "late":
            await trio.sleep(START_TIMEOUT_S)
        if self.life.start == "crash":
            raise OSError("cannot start")
        if self.life.start == "returns":
            self.nursery.cancel_scope.cancel()
            await trio.lowlevel.checkpoint()

    async def linger(self) -> None:
        """The last of this incarnation's tasks: it takes its time to end."""
        try:
            await trio.sleep_forever()
        finally:
            with trio.CancelScope(shield=True):
                await trio.sleep(self.life.stop_s)
            self.seen_by.alive.remove(self.address.name)

    async def handle(self, message: Any) -> None:
        address = self.address
        assert isinstance(address, Observed)
        _, fates = message
        address.handled.append(message)
        match next(fates, "fine"):
            case "crash":
                raise ValueError("crash")
            case "hang":
                await trio.sleep_forever()
            case "slow":
                await trio.sleep(HANDLER_TIMEOUT_S / 2)
            case "helper crash":
                self.nursery.start_soon(fail)
                await trio.sleep_forever()


async def fail() -> None:
    raise OSError("helper")


def played(plan: Plan) -> Run:
    run = Run(plan)
    trio.run(run.play, clock=trio.testing.MockClock(autojump_threshold=0))
    return run


@settings(max_examples=250)
@given(PLANS)
def test_supervision_keeps_its_promises_under_random_deaths(plan: Plan) -> None:
    run = played(plan)
    assert not run.faults
    assert not run.alive
    messages_are_in_order_and_none_is_lost(run)
    the_window_is_exact(run)
    the_stop_was_in_order(run)
    waiting = sum(address.depth for address in run.addresses.values())
    assert run.in_flight.count == waiting, "holds left over"


def messages_are_in_order_and_none_is_lost(run: Run) -> None:
    assert not run.dead
    for address in run.addresses.values():
        count = len(address.acknowledged)
        assert address.acknowledged == address.posted[:count], "each once, in order"
        first_deliveries = list(dict.fromkeys(address.handled))
        assert first_deliveries == address.posted[: len(first_deliveries)], "a later one overtook"
        assert set(address.acknowledged) <= set(address.handled), "acknowledged without having been handled"
        if not run.gave_up and not address.closed:
            assert count == len(address.posted), f"{address.name} has lost messages"
            assert address.depth == 0


def the_window_is_exact(run: Run) -> None:
    limits = run.plan.limits
    restarts = [at for at, event, _ in run.log if event is ChildEvent.RESTARTING]

    def within_window_until(end_s: float) -> int:
        return sum(end_s - limits.window_s < at <= end_s for at in restarts)

    for at in restarts:
        assert within_window_until(at) <= limits.intensity
    ends = [at for at, event, _ in run.log if event is ChildEvent.GAVE_UP]
    assert len(ends) == run.gave_up
    for at in ends:
        assert within_window_until(at) == limits.intensity, "gave up too early"


def the_stop_was_in_order(run: Run) -> None:
    assert run.gave_up == (run.stopping_at is None)
    starts = [name for _, event, name in run.log if event is ChildEvent.STARTED]
    assert list(dict.fromkeys(starts)) == sorted(set(starts)), "each ready before the next"
    if run.stopping_at is not None and not run.plan.parallel_stop:
        stops = [name for _, event, name in run.log[run.stopping_at :] if event is ChildEvent.STOPPED]
        assert stops == sorted(stops, reverse=True)
