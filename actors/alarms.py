"""Market-time alarms as messages: set for an address, so that they outlive the incarnation that set them."""

from __future__ import annotations

from actors.mailbox import Address
from effects import MarketClock
from protocol.messages import AlarmRang, Phase


def alarm_name(address: Address, name: str) -> str:
    """How the clock knows an address's alarm."""
    return f"{address.name}:{name}"


def set_alarm(
    clock: MarketClock,
    address: Address,
    name: str,
    at_ns: int,
    *,
    phase: Phase = Phase.TIMER,
    symbol: str = "",
    rung: int = 0,
) -> None:
    """AlarmRang(name) reaches the address at `at_ns`; an earlier alarm of the same name is replaced.

    One that rings for an address whose actor has finished meanwhile is dropped.
    """

    def ring() -> None:
        if not address.closed:
            address.post(AlarmRang(name, at_ns, rung))

    clock.alarm(alarm_name(address, name), at_ns, phase, symbol, rung, ring)


def cancel_alarm(clock: MarketClock, address: Address, name: str) -> None:
    """Forget an alarm; one that is not set is no error."""
    clock.cancel(alarm_name(address, name))
