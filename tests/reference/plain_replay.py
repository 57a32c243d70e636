"""The plain replay: the trading rules once more, as one loop over the bars, to hold the real system to.

It owns a second, independent reading of the written rules (ranking, ladder, exits, charges, end of day, order
of an instant) and shares no code with the system: no actors, no journal, no broker protocol. It never decides
what the system should do: where the two differ, the written rules are asked. Called by the comparison tests,
and by hand:

    python tests/reference/plain_replay.py --data DIR --from 2016-08-26 --to 2016-09-09 --json result.json

Money is int paise. An instant is an int: seconds on the IST wall clock, whole days counted the way
date.toordinal() counts them, so that `at % DAY_S` is the time of day. The data has whole seconds, so frames
are at least one second apart and the rule "a stop is moved at most once per second" never holds anything
back; finer data is refused.
"""

from __future__ import annotations

import argparse
import json
import sys
from datetime import date, datetime, timedelta
from operator import itemgetter
from pathlib import Path
from typing import Any

import attrs

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # when run as a file

from tests.reference.plain_charges import Order, day_charges
from tests.reference.plain_data import (
    CLOSE,
    DAY_S,
    OPEN,
    DailyCloses,
    Frames,
    closes_15_minutes,
    closes_before,
    frames_of_bars,
    frames_of_ticks,
    read_daily_closes,
    read_minute_bars,
    read_tick_sizes,
    tick_days,
)
from tests.reference.plain_ladder import Rung, next_rung
from tests.reference.plain_ranking import Ranking

FIRST_ENTRY, LAST_ENTRY = 33_960, 54_000  # 09:26 and 15:00, both inclusive
SQUARE_OFF = 54_600  # 15:10

STOP_GRACE_S, TRIGGER_GRACE_S, FRESH_S, COOLDOWN_S = 3, 10, 5, 900
MONEY = ("gross", "charges", "net")


@attrs.define(eq=False)
class Replay:
    """All state of one replay. Capital in paise."""

    capital: int
    capital_per_position: int
    max_positions: int
    min_rank_gm: float
    tick_size: dict[str, int]
    ranking: Ranking

    open: dict[str, list[Rung]] = attrs.field(factory=dict)  # open rungs by symbol, P1 first
    ladders: dict[str, dict[str, Rung]] = attrs.field(factory=dict)  # all rungs of a symbol's latest ladder
    cool_at: dict[str, int] = attrs.field(factory=dict)  # when the scan may pick the symbol again
    timers: dict[Rung, int] = attrs.field(factory=dict)  # trigger grace if the rung rests, else stop grace
    deployed: int = 0
    open_rungs: int = 0
    trades: list[Rung] = attrs.field(factory=list)

    # of the day being played
    last: dict[str, int] = attrs.field(init=False)
    last_at: dict[str, int] = attrs.field(init=False)
    orders: list[tuple[Rung, Order]] = attrs.field(init=False)
    previous_close: dict[str, int] = attrs.field(init=False)

    def play_day(self, day: date, frames: Frames, before: DailyCloses) -> dict[str, Any]:
        """Plays one day and returns its line, money in paise. `before`: the daily closes before that day."""
        self.last, self.last_at, self.orders = {}, {}, []
        self.previous_close = {symbol: closes[-1] for symbol, closes in before.items()}
        self.ranking.start_day(before)
        scans = range(OPEN, CLOSE, 60)
        midnight = day.toordinal() * DAY_S
        for second in sorted({*frames, *scans}):
            now = midnight + second
            self.fire_timers(now - 1)
            touched = self.match(now, frames.get(second, []))
            self.look(now, touched)
            self.fire_timers(now)
            if second == SQUARE_OFF:
                self.square_off(now)
            if second % 60 == 0:
                self.scan(now)
        self.fire_timers(midnight + CLOSE - 1)
        return {"date": str(day), "rankings": len(scans)} | self.close_day()

    # (1) the frame reaches the board and the broker

    def match(self, now: int, ticks: list[tuple[str, int]]) -> dict[str, int]:
        """The broker sees the ticks one by one. Returns the open symbols seen, with their highest price."""
        touched: dict[str, int] = {}
        for symbol, price in ticks:
            close = self.previous_close.get(symbol, price)
            if price <= 0 or abs(price - close) * 5 > close:
                continue
            self.last[symbol] = price
            self.last_at[symbol] = now
            self.ranking.see(now, symbol, price)
            if symbol in self.open:
                touched[symbol] = max(price, touched.get(symbol, price))
                for rung in list(self.open[symbol]):
                    self.match_rung(now, rung, price)
        return touched

    def match_rung(self, now: int, rung: Rung, price: int) -> None:
        if rung.resting or price <= rung.trigger:
            if price >= rung.limit:
                self.sell(now, rung, price, "stop")
            elif not rung.resting:
                rung.resting = True
                self.timers[rung] = now + TRIGGER_GRACE_S
        elif rung.target is not None and price >= rung.target:
            self.sell(now, rung, price, "target")

    # (2) the rounds

    def look(self, now: int, touched: dict[str, int]) -> None:
        for symbol in sorted(touched):
            for rung in list(self.open.get(symbol, [])):
                self.watch(now, rung, self.last[symbol], touched[symbol])
        asking = sorted(touched)
        while asking and FIRST_ENTRY <= now % DAY_S <= LAST_ENTRY:
            wanted = [(symbol, next_rung(self.ladders[symbol], self.last[symbol])) for symbol in asking]
            asking = [symbol for symbol, name in wanted if name is not None and self.enter(now, symbol, name)]

    def watch(self, now: int, rung: Rung, last: int, highest: int) -> None:
        """Exits, then the trail, of one rung after a frame of its symbol."""
        rung.highest = max(rung.highest, highest)
        if rung.resting:
            return
        stop = rung.stop
        if highest > stop:
            self.timers.pop(rung, None)
        if last <= stop:
            self.timers.setdefault(rung, now + STOP_GRACE_S)
        if stop - rung.trigger >= max(rung.tick, last // 1000):
            rung.trigger = stop // rung.tick * rung.tick

    # (3) the timers

    def fire_timers(self, until: int) -> None:
        """Fires every timer due at or before `until`, in (time, symbol, rung) order, each at its own time."""
        due = [(at, rung.symbol, rung.name, rung) for rung, at in self.timers.items() if at <= until]
        for at, symbol, _name, rung in sorted(due, key=itemgetter(0, 1, 2)):
            # A safety stop's price is never stale here: a tick started it, and STOP_GRACE_S < FRESH_S.
            self.sell(at, rung, self.last[symbol], "stop" if rung.resting else "safety")

    # (4) square-off, and the night

    def square_off(self, now: int) -> None:
        """Sells what must not stay. A stop that has triggered is the rung's exit already, left to finish."""
        for symbol in sorted(self.open.keys() & self.last.keys()):
            last = self.last[symbol]
            for rung in list(self.open[symbol]):
                if not rung.resting and (rung.name != "P1" or last * rung.qty > rung.cost):
                    self.sell(now, rung, last, "square_off")

    def close_day(self) -> dict[str, int]:
        """A resting sell lapses at the close and its GTT stands again; a safety stop counts anew tomorrow.
        Shares out the day's charges and returns the day's line."""
        self.timers.clear()
        for rungs in self.open.values():
            for rung in rungs:
                rung.resting = False
        charges = day_charges([order for _, order in self.orders])
        for (rung, _), paise in zip(self.orders, charges, strict=True):
            rung.charges += paise
        entries = [rung for rung, order in self.orders if order.is_buy]
        exits = [rung for rung, order in self.orders if not order.is_buy]
        counts = {"entries": len(entries), "exits": len(exits)}
        gross = sum(rung.gross for rung in exits)
        return counts | {"gross": gross, "charges": sum(charges), "net": gross - sum(charges)}

    # (5) the scan

    def scan(self, now: int) -> None:
        """Ranks every symbol and, inside the entry times, buys P1s from the top."""
        ranks = self.ranking.final_ranks(now, self.last)
        if not FIRST_ENTRY <= now % DAY_S <= LAST_ENTRY:
            return
        picked = [
            (-rank, symbol)
            for symbol, rank in ranks.items()
            if rank > self.min_rank_gm
            and symbol not in self.open
            and now - self.last_at[symbol] <= FRESH_S
            and now >= self.cool_at.get(symbol, now)
        ]
        for minus_rank, symbol in sorted(picked):
            self.enter(now, symbol, "P1", -minus_rank)

    # entries and exits

    def enter(self, now: int, symbol: str, name: str, rank: float | None = None) -> bool:
        """Buys one rung at the last price if price, slots and capital allow. A P1 opens a ladder."""
        last = self.last[symbol]
        qty = self.capital_per_position // last
        if qty < 1 or self.open_rungs + 1 > self.max_positions or self.deployed + qty * last > self.capital:
            return False
        if rank is not None:
            self.ladders[symbol], self.open[symbol] = {}, []
        else:
            rank = self.ladders[symbol]["P1"].rank
        rung = Rung(symbol, name, qty, last, rank, now, self.tick_size[symbol])
        self.ladders[symbol][name] = rung
        self.open[symbol].append(rung)
        self.deployed += rung.cost
        self.open_rungs += 1
        self.trades.append(rung)
        self.orders.append((rung, Order(symbol, name, is_buy=True, qty=qty, price=last, at=now)))
        return True

    def sell(self, at: int, rung: Rung, price: int, reason: str) -> None:
        rung.exit_at, rung.exit_price, rung.reason = at, price, reason
        self.timers.pop(rung, None)
        self.deployed -= rung.cost
        self.open_rungs -= 1
        self.open[rung.symbol].remove(rung)
        if not self.open[rung.symbol]:
            del self.open[rung.symbol]
            self.cool_at[rung.symbol] = at + COOLDOWN_S
        order = Order(rung.symbol, rung.name, is_buy=False, qty=rung.qty, price=price, at=at)
        self.orders.append((rung, order))


def replay(
    data: Path,
    first: date,
    last: date,
    *,
    ticks: bool = False,
    capital: int = 240_000,
    capital_per_position: int = 3_000,
    max_positions: int = 90,
    min_rank_gm: float = 2.5,
    acceleration_weight: float = 0.0,
) -> dict[str, Any]:
    """Replays the trading days first..last of a data folder and returns days, total and trades.

    Capital is in rupees. In the result money and prices are rupees, times are IST; a rung still open at the
    end has None for its exit, gross and net, and its charges so far.
    """
    bars = read_minute_bars(data, last)
    run = Replay(
        capital * 100,
        capital_per_position * 100,
        max_positions,
        min_rank_gm,
        read_tick_sizes(data),
        Ranking(closes_15_minutes([bar for bar in bars if bar.day < first]), acceleration_weight),
    )
    daily = read_daily_closes(data)
    days = []
    for day in tick_days(data) if ticks else sorted({bar.day for bar in bars}):
        if first <= day <= last:
            frames = frames_of_ticks(data, day) if ticks else frames_of_bars(bars, day)
            days.append(run.play_day(day, frames, closes_before(daily, day)))
    total = {key: sum(day[key] for day in days) for key in ("rankings", "entries", "exits", *MONEY)}
    trades = sorted(run.trades, key=lambda rung: (rung.entry_at, rung.symbol, rung.name))
    return {
        "days": [day | {key: rupees(day[key]) for key in MONEY} for day in days],
        "total": total | {key: rupees(total[key]) for key in MONEY},
        "trades": [trade_line(rung) for rung in trades],
    }


def trade_line(rung: Rung) -> dict[str, Any]:
    closed = rung.exit_at is not None
    return {
        "symbol": rung.symbol,
        "rung": rung.name,
        "entry_time": ist(rung.entry_at),
        "entry_price": rupees(rung.price),
        "qty": rung.qty,
        "rank": round(rung.rank, 6),
        "exit_time": None if rung.exit_at is None else ist(rung.exit_at),
        "exit_price": rupees(rung.exit_price) if closed else None,
        "reason": rung.reason,
        "gross": rupees(rung.gross) if closed else None,
        "charges": rupees(rung.charges),
        "net": rupees(rung.gross - rung.charges) if closed else None,
    }


def rupees(paise: int) -> float:
    return round(paise / 100, 2)


def ist(at: int) -> str:
    return str(datetime.fromordinal(at // DAY_S) + timedelta(seconds=at % DAY_S))


def main() -> None:
    parser = argparse.ArgumentParser(description="Replay recorded market data by the plain reference loop.")
    parser.add_argument("--data", type=Path, required=True, help="folder of recorded data")
    parser.add_argument("--from", dest="first", type=date.fromisoformat, required=True)
    parser.add_argument("--to", dest="last", type=date.fromisoformat, required=True)
    parser.add_argument("--ticks", action="store_true", help="play ticks/DATE.parquet instead of minute bars")
    parser.add_argument("--capital", type=int, default=240_000, help="rupees")
    parser.add_argument("--max-positions", type=int, default=90)
    parser.add_argument("--json", type=Path, required=True, help="file to write")
    options = vars(parser.parse_args())
    target = options.pop("json")
    result = replay(**options)
    target.write_text(json.dumps(result, indent=1) + "\n")
    print(result["total"])


if __name__ == "__main__":
    main()
