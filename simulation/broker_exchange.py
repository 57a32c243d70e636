"""The exchange behind a broker server: every account's seat, the days, and the record.

Whatever it accepts or fills is in the record before it is told to anybody. Knows no connection: answers and updates
are returned. Called by broker_desk.py with requests and by broker_server.py with prices and days.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from random import Random

import attrs

from brokers.matching import EngineOptions, MatchingEngine
from brokers.matching_account import Ledger
from protocol.broker_wire import Refusal, Response
from protocol.broker_wire_fields import rupee_number, utc_text
from protocol.broker_wire_requests import Changed, Read
from protocol.clock import ist_date
from simulation.broker_book import AccountBook
from simulation.broker_market import ServerMarket
from simulation.broker_record import Record
from simulation.broker_restore import Past, fill_engine, replay
from simulation.broker_seat import Answered, Later, Seat, Update
from simulation.trouble import Trouble

Told = list[tuple[str, Update]]  # (account, what its clients are to hear)


@attrs.frozen(kw_only=True)
class ServerAccount:
    """An account and the key that opens it. `cash_paise` None: no margin limit."""

    name: str
    api_key: str = attrs.field(repr=False)
    cash_paise: int | None = None


@attrs.frozen(kw_only=True)
class ExchangeOptions:
    """How real the exchange is: price slippage and the least distance of a GTT's trigger, in basis points."""

    slippage_bp: int = 0
    gtt_min_distance_bp: int = 0


class ServerExchange:
    """Reads the record when it is made, and goes on where that ends. Raises RecordError."""

    def __init__(
        self,
        accounts: Sequence[ServerAccount],
        market: ServerMarket,
        record: Record,
        trouble: Trouble,
        options: ExchangeOptions,
        later: Later,
    ) -> None:
        self._market = market
        self._record = record
        self._edges: dict[str, tuple[int, int]] = {}
        pasts = {
            account.name: Past(AccountBook(account.name, record), Ledger(account.cash_paise)) for account in accounts
        }
        restored = replay(record.read(), pasts)
        market.advance_to(restored.now_ns)
        for symbol, price_paise in restored.prices.items():
            if symbol in market.universe:
                market.see(symbol, price_paise, -1)
        then_ns = restored.now_ns or market.now_ns
        self.day: date = ist_date(then_ns)
        self.starts = restored.starts + 1
        self.resumed_ns = restored.now_ns  # where the record ended, 0 without one
        self.seats: dict[str, Seat] = {}
        for number, (name, past) in enumerate(pasts.items(), 1):
            past.book.id_prefix = f"{self.starts}.{number}"
            engine = MatchingEngine(
                market.for_engines,
                then_ns,
                EngineOptions(
                    cash_paise=past.morning_cash_paise,
                    slippage_bp=options.slippage_bp,
                    gtt_min_distance_bp=options.gtt_min_distance_bp,
                    id_prefix=past.book.id_prefix,
                ),
                PartialFills(trouble),
            )
            fill_engine(engine, past, then_ns)
            self.seats[name] = Seat(engine, past.book, market, trouble, later)
        self._settle_all()
        record.open()
        record.write({"start": self.starts, "at": utc_text(then_ns)})
        record.commit()

    # --- requests --------------------------------------------------------------------------------------

    def carry_out(self, account: str, request_id: str, body: Changed) -> Answered:
        """Do what a request asks: its answer, and what the account's clients are to hear besides."""
        answer, updates = self.seats[account].carry_out(request_id, body)
        row = None if isinstance(answer, Refusal) else answer.order or answer.gtt
        if row is not None:
            self._settle(row.update.symbol)
        self._record.commit()
        return answer, updates

    def read(self, account: str, request_id: str, body: Read) -> Response | Refusal:
        """What a request wants to know."""
        return self.seats[account].read(request_id, body)

    # --- the market moves ------------------------------------------------------------------------------

    def match(self, symbol: str, price_paise: int) -> Told:
        """A trade happened now: what it fills and triggers, account by account. `commit` follows."""
        low, high = self._edges.get(symbol, (-1, price_paise + 1))
        if low < price_paise < high:
            return []
        now_ns = self._market.now_ns
        told: Told = []
        for name, seat in self.seats.items():
            for event in seat.engine.tick(symbol, price_paise, now_ns):
                told += [(name, update) for update in seat.note(event)]
        self._settle(symbol)
        return told

    def end_of_day(self) -> Told:
        """Continuous trading is over: what still works lapses."""
        told: Told = []
        for name, seat in self.seats.items():
            for event in seat.engine.end_of_day(self._market.now_ns):
                told += [(name, update) for update in seat.note(event)]
        self._settle_all()
        self._record.commit()
        return told

    def start_of_day(self) -> Told:
        """A new day by market time: positions become holdings. The same day again changes nothing."""
        now_ns = self._market.now_ns
        if ist_date(now_ns) <= self.day:
            return []
        told = self.end_of_day()
        self.day = ist_date(now_ns)
        self._record.write({"day": self.day.isoformat(), "at": utc_text(now_ns)})
        for seat in self.seats.values():
            seat.engine.start_of_day(now_ns)
            seat.book.forget_old(now_ns)
        self._record.commit()
        return told

    def commit(self) -> None:
        """Put on the disk what `match` noted."""
        self._record.commit()

    def note_market(self) -> None:
        """Remember how far the market came, so that a server started again goes on from there."""
        prices = {symbol: rupee_number(price) for symbol, price in self._market.take_unrecorded().items()}
        self._record.write({"now": utc_text(self._market.now_ns), "prices": prices})
        self._record.commit(sync=False)

    # --- inside ----------------------------------------------------------------------------------------

    def _settle(self, symbol: str) -> None:
        """Between these prices nothing of any account can happen in the symbol."""
        edges = [seat.engine.edges(symbol) for seat in self.seats.values()]
        self._edges[symbol] = max(low for low, _ in edges), min(high for _, high in edges)

    def _settle_all(self) -> None:
        self._edges.clear()
        for symbol in sorted(set[str]().union(*(seat.engine.symbols() for seat in self.seats.values()))):
            self._settle(symbol)


class PartialFills(Random):
    """The engine's chance of a partial fill, in the hand of the trouble switches."""

    def __init__(self, trouble: Trouble) -> None:
        super().__init__("partial fills")
        self._trouble = trouble

    def random(self) -> float:
        """0 for a part, 1 for the whole (the engine compares it with its own even chance)."""
        return 0.0 if self._trouble.happens("partial_fill") else 1.0

    def getrandbits(self, k: int, /) -> int:
        """Real chance for how large a part is: without this, Random would draw it from `random` above."""
        return super().getrandbits(k)
