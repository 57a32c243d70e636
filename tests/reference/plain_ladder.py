"""What one rung and one ladder are and want, part of the plain replay.

It owns the prices of a rung (exact stop, broker's trigger and limit, target) and the conditions under
which P2 and P3 are wanted. It knows no market, no time and no capital. Called by plain_replay.
"""

from __future__ import annotations

import attrs

STOP_BP = {"P1": 250, "P2": 250, "P3": 500}
TARGET_BP = 500  # P1 only; P2 and P3 are runners
STOP_LIMIT_BP = 100
P2_ABOVE_BP, P3_FROM_BP = 25, 100


@attrs.define(eq=False)
class Rung:
    """One rung from its entry to its exit; prices in paise. Entries fill whole and at one price, so
    cost / quantity is `price`."""

    symbol: str
    name: str
    qty: int
    price: int
    rank: float
    entry_at: int
    tick: int
    highest: int = attrs.field(init=False)  # starts at the fill price
    trigger: int = attrs.field(init=False)  # of the broker's stop
    resting: bool = False  # the broker's stop has triggered, but the price was below its limit
    exit_at: int | None = None
    exit_price: int = 0
    reason: str | None = None
    charges: int = 0

    def __attrs_post_init__(self) -> None:
        self.highest = self.price
        self.trigger = self.stop // self.tick * self.tick

    @property
    def cost(self) -> int:
        return self.qty * self.price

    @property
    def gross(self) -> int:
        return self.qty * (self.exit_price - self.price)

    @property
    def stop(self) -> int:
        """The exact stop, cut to whole paise. Prices, triggers and steps are whole paise, so nothing is lost:
        price <= exact, exact - trigger >= step and rounding down to a tick all come out the same."""
        base = self.price if self.name == "P1" else self.highest
        return base * (10_000 - STOP_BP[self.name]) // 10_000

    @property
    def limit(self) -> int:
        return self.trigger * (10_000 - STOP_LIMIT_BP) // (10_000 * self.tick) * self.tick

    @property
    def target(self) -> int | None:
        if self.name != "P1":
            return None
        return -(-self.price * (10_000 + TARGET_BP) // (10_000 * self.tick)) * self.tick

    def allows_more_at(self, last: int) -> bool:
        """False at a price at which this rung is on its way out."""
        return last > self.stop and (self.target is None or last < self.target)


def next_rung(ladder: dict[str, Rung], last: int) -> str | None:
    """The rung a ladder wants at this price, if any. `ladder` holds every rung it used, closed ones too."""
    p1, p2 = ladder["P1"], ladder.get("P2")
    if not all(rung.allows_more_at(last) for rung in ladder.values() if rung.exit_at is None):
        return None
    if p1.exit_at is not None or "P3" in ladder:
        return None
    gain1 = last * p1.qty - p1.cost
    if p2 is None:
        return "P2" if gain1 * 10_000 > P2_ABOVE_BP * p1.cost else None
    if p2.exit_at is not None:
        return None
    gain2 = last * p2.qty - p2.cost
    # (gain1 / cost1 + gain2 / cost2) / 2 >= 1 %, multiplied out
    enough = (gain1 * p2.cost + gain2 * p1.cost) * 10_000 >= 2 * P3_FROM_BP * p1.cost * p2.cost
    return "P3" if enough else None
