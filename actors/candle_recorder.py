"""15-minute bars and rankings → market.db: its only writer, so no trading actor ever waits for that file.

Owns nothing but the last thing written. A failing market.db costs history, never an order: the failure is told to
a person and the recorder goes on with the next bar.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from actors.actor import Actor
from actors.mailbox import Address
from actors.ports import MarketRecords
from effects import MarketClock
from market.candles import CompletedBars
from protocol.errors import StoreError
from protocol.messages import AskSnapshot, Notice, Ranked, Severity


class CandleRecorder(Actor):
    """Bars come from the ticker, rankings from the scanner. Writing a bar or a ranking twice changes nothing."""

    def __init__(
        self,
        address: Address,
        records: MarketRecords,
        symbols: Sequence[str],
        clock: MarketClock,
        notify: Callable[[Notice], None],
    ) -> None:
        super().__init__(address)
        self._records = records
        self._symbols = symbols
        self._clock = clock
        self._notify = notify
        self._bars = 0
        self._rankings = 0

    async def handle(self, message: object) -> object:
        try:
            if isinstance(message, CompletedBars):
                self._records.write_bars(message, self._symbols)
                self._bars += 1
            elif isinstance(message, Ranked):
                self._records.write_ranking(message.at_ns, message.rows)
                self._rankings += 1
            elif isinstance(message, AskSnapshot):
                return {"bars_written": self._bars, "rankings_written": self._rankings}
        except StoreError as problem:
            self._notify(
                Notice(
                    severity=Severity.ALERT,
                    source=self.address.name,
                    text=f"market.db takes no more: {problem}",
                    at_ns=self._clock.now_ns,
                )
            )
        return None
