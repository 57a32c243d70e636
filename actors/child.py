"""The vocabulary of supervision: what a child is, when it is restarted, what may happen to it.

Owns the closed sets (restart types, strategies, events, states), the spec of a child, the limits, and the
errors. Starts nothing and decides nothing: incarnation.py is one life of a child, supervision.py decides what
follows it.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from enum import Enum
from functools import partial
from random import Random
from typing import TYPE_CHECKING

import attrs
import trio

from actors.actor import Actor, serve
from actors.mailbox import Address, InFlight
from protocol.errors import PureAlphaError

if TYPE_CHECKING:
    from actors.supervision import Supervisor

Run = Callable[["trio.TaskStatus[None]"], Awaitable[None]]


class Restart(Enum):
    """PERMANENT: always. TRANSIENT: after a crash or a kill, not after a normal return. TEMPORARY: never."""

    PERMANENT = "permanent"
    TRANSIENT = "transient"
    TEMPORARY = "temporary"


class Strategy(Enum):
    """Who is restarted with a child that died: nobody, all, or those started after it."""

    ONE_FOR_ONE = "one_for_one"
    ONE_FOR_ALL = "one_for_all"
    REST_FOR_ONE = "rest_for_one"


class ChildEvent(Enum):
    """What a supervisor tells its observer about a child."""

    STARTED = "started"
    CRASHED = "crashed"
    KILLED = "killed"
    HUNG = "hung"
    RESTARTING = "restarting"
    GAVE_UP = "gave up"
    STOPPED = "stopped"
    STOPPED_LATE = "stopped late"
    ENDED = "ended"


class ChildState(Enum):
    """WAITING is the back-off before a restart; STOPPED is with its supervisor, ENDED for good."""

    STARTING = "starting"
    UP = "up"
    STOPPING = "stopping"
    WAITING = "waiting"
    GIVEN_UP = "given up"
    STOPPED = "stopped"
    ENDED = "ended"


class RestartLimit(PureAlphaError):
    """A supervisor's children died too often: to its parent, a crash of the supervisor."""


class Returned(PureAlphaError):
    """A permanent child came to its end by itself."""


class StartFailed(PureAlphaError):
    """A child was not ready within its time, or returned before it was."""


class HandlerTimeout(PureAlphaError):
    """A message was in hand for longer than the handler may take."""


class Killed(PureAlphaError):
    """Ended from outside, by kill()."""


class ProcessMustEnd(BaseException):
    """A task would not end in time, so nothing may be started in its place: only a new process can help."""


def end_process(reason: str) -> None:
    """What happens to a process that must end, unless told otherwise. A real one leaves with exit code 70."""
    raise ProcessMustEnd(reason)


def unobserved(event: ChildEvent, child: str, detail: str) -> None:
    """An observer that looks away."""


@attrs.frozen(kw_only=True)
class ChildSpec:
    """A child before it lives. `run` reports itself ready through task_status.started(), exactly once.

    `name` is its full name, unique in the whole tree ("position:RELIANCE"). An actor brings its `address`, a
    supervisor itself; times in s of machine time. `handler_timeout_s` is how long an actor may have a message
    in hand.
    """

    name: str
    run: Run = attrs.field(eq=False)
    restart: Restart = Restart.PERMANENT
    start_timeout_s: float = 10.0
    stop_timeout_s: float = 2.0
    handler_timeout_s: float = 5.0
    address: Address | None = attrs.field(default=None, eq=False)
    supervisor: Supervisor | None = attrs.field(default=None, eq=False)

    @property
    def stop_budget_s(self) -> float:
        """How long it may take to end: a supervisor, as long as its children together."""
        return self.stop_timeout_s if self.supervisor is None else self.supervisor.stop_budget_s


def actor_child(
    make: Callable[[Address], Actor],
    address: Address,
    *,
    restart: Restart = Restart.PERMANENT,
    start_timeout_s: float = 10.0,
    stop_timeout_s: float = 2.0,
    handler_timeout_s: float = 5.0,
) -> ChildSpec:
    """The spec of an actor, named as its address; `make` builds each incarnation."""
    return ChildSpec(
        name=address.name,
        run=partial(serve, make, address),
        restart=restart,
        start_timeout_s=start_timeout_s,
        stop_timeout_s=stop_timeout_s,
        handler_timeout_s=handler_timeout_s,
        address=address,
    )


@attrs.frozen(kw_only=True)
class Limits:
    """How often children may be restarted, and how long a restart waits.

    More than `intensity` restarts within `window_s`, and the supervisor gives up. A child's first restart
    waits `backoff_first_s`, the next ones a random part (full jitter, so that siblings spread) of
    `backoff_base_s`, doubled each time up to `backoff_max_s`; after `reset_after_s` up, its next restart is a
    first one again.
    """

    intensity: int = 10
    window_s: float = 60.0
    backoff_first_s: float = 0.0
    backoff_base_s: float = 0.1
    backoff_max_s: float = 30.0
    reset_after_s: float = 60.0

    def delay_s(self, failures: int, rng: Random) -> float:
        """The wait before the restart that follows so many failures in a row (1 = the first)."""
        if failures <= 1:
            return self.backoff_first_s
        doublings = min(failures - 2, 60)  # far beyond any ceiling; keeps the power finite
        return rng.uniform(0.0, min(self.backoff_max_s, self.backoff_base_s * 2.0**doublings))


@attrs.frozen(kw_only=True)
class Surroundings:
    """What all supervisors of one tree share.

    `shield` opens a cancel scope that a cancel from above does not pass, used as `with shield():`. `rng` is
    for the jitter. `in_flight` is told who holds the market. `on_event` observes; `give_up_process` is called
    with a reason when a task will not end, and should not return.
    """

    shield: Callable[[], trio.CancelScope]
    rng: Random
    in_flight: InFlight = attrs.field(factory=InFlight)
    on_event: Callable[[ChildEvent, str, str], None] = unobserved
    give_up_process: Callable[[str], None] = end_process


@attrs.frozen(kw_only=True)
class NodeInfo:
    """A child as a person may see it. Times in s of machine time; `last_crash` is one line."""

    name: str
    kind: str  # "supervisor", "actor" or "task"
    state: ChildState
    restarts: int = 0
    last_crash: str | None = None
    last_crash_s: float | None = None
    up_since_s: float | None = None
    depth: int | None = None  # messages in the mailbox, the one in hand included
    children: tuple[NodeInfo, ...] = ()
