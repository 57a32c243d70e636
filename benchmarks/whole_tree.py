"""The real tree over a market of a benchmark's own, with its journal, market.db and logs in a directory.

Owns what every benchmark of the whole tree sets the same, and the opening and closing of the files. The tree
is planted by commands/compose.py, as for a run; only the feed is another.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import attrs

from actors.child import end_process
from actors.ports import LogLine
from actors.tree import Tree
from benchmarks.made_market import MadeMarket
from commands.compose import plant
from commands.logs import Logs
from effects import Effects
from protocol.clock import DAY_S
from protocol.messages import Enter, Reservation, Reserved
from settings import (
    HealthSettings,
    LogSettings,
    MarketSettings,
    RiskSettings,
    RungSettings,
    Settings,
    StorageSettings,
    StrategySettings,
    SupervisionSettings,
)
from store.journal import Journal
from store.opening import open_journal, open_market_store

ACCOUNT = "main"
NEVER_BP = 10_000  # a rung that is entered at a gain of 100 %: far beyond the first one's target
UNLIMITED_PAISE = 10**15

Listener = Callable[[str, str, str], None]
"""Hears every log line of the tree: kind, actor, text."""


@attrs.frozen(kw_only=True)
class Planted:
    """A tree that is not running yet, and what belongs to it."""

    tree: Tree
    effects: Effects
    market: MadeMarket
    journal: Journal
    logs: Path

    def reservation(self, symbol: str, number: int, last_paise: int, quantity: int) -> Reservation:
        """What a router grants to a scan: the right to begin the symbol's ladder of that number."""
        now_ns = self.effects.market.now_ns
        return Reservation(
            ladder=f"{symbol}-{number}",
            symbol=symbol,
            quantity=quantity,
            last_paise=last_paise,
            rank=3.0,
            at_ns=now_ns,
            until_ns=now_ns,
        )

    def enter(self, reservations: list[Reservation]) -> None:
        """Have the scanner send Enter, as after a scan: it starts the positions that do not exist."""
        self.tree.scanner.post(Reserved(ACCOUNT, self.effects.market.now_ns, tuple(reservations), ()))

    def enter_again(self, reservation: Reservation) -> None:
        """A position that exists, because it is cooling down, begins its next ladder."""
        self.tree.accounts[ACCOUNT].addresses[reservation.symbol].post(Enter(reservation))


def settings_for(directory: Path) -> Settings:
    """Rung 1 trails by 2.5 % in steps of a tick, with a target of 5 %; no other rung, nothing picked by scans."""
    first = RungSettings(stop_bp=250, target_bp=500, trail=True, entry_pnl_bp=0)
    never = RungSettings(stop_bp=250, target_bp=0, trail=True, entry_pnl_bp=NEVER_BP)
    return Settings(
        market=MarketSettings(speed=float("inf")),
        strategy=StrategySettings(
            capital_paise=UNLIMITED_PAISE,
            max_positions=1_000,
            min_rank_gm=1_000.0,
            first_entry_second=0,
            last_entry_second=DAY_S,
            trail_interval_ns=0,
            trail_step_bp=0,
            p1=first,
            p2=never,
            p3=never,
        ),
        risk=RiskSettings(
            max_order_value_paise=UNLIMITED_PAISE,
            max_orders_per_minute_per_symbol=1_000,
            kill_switch_file=directory / "kill-switch",
        ),
        storage=StorageSettings(directory=directory / "var", reserve_mb=1),
        logs=LogSettings(directory=directory / "logs"),
        health=HealthSettings(disk_free_mb=1),
        supervision=SupervisionSettings(intensity=1_000_000, reset_after_s=0.0),
    )


@contextmanager
def planted(
    directory: Path,
    market: MadeMarket,
    *,
    prepare: Callable[[Journal], None] | None = None,
    heard: Listener | None = None,
) -> Iterator[Planted]:
    """A tree on new files of the directory. `prepare` may fill the journal before; `heard` follows the logs."""
    settings = settings_for(directory)
    storage = settings.storage
    effects = Effects(seed="benchmark")
    records, _ = open_market_store(storage.directory)
    journal, _ = open_journal(
        storage.directory,
        account=ACCOUNT,
        mode="paper",
        chance=effects.rng("database ids"),
        now_ns=effects.wall_ns(),
        durability=storage.durability,
        wal_limit_mb=storage.wal_limit_mb,
        reserve_mb=storage.reserve_mb,
        backup_days=storage.backup_days,
    )
    logs = Logs(
        settings.logs.directory,
        market_time=True,
        clock_ns=lambda: effects.market.now_ns,
        rotation_mb=settings.logs.rotation_mb,
        keep_days=None,
        console_level="ERROR",
        console=None,
    )
    try:
        if prepare is not None:
            prepare(journal)
        tree, _ = plant(
            settings,
            effects,
            journals={ACCOUNT: journal},
            records=records,
            log=logs.line if heard is None else _also(heard, logs.line),
            give_up_process=end_process,
            out_of_disk=end_process,
            feed=market,
        )
        yield Planted(tree=tree, effects=effects, market=market, journal=journal, logs=settings.logs.directory)
    finally:
        logs.close()
        journal.close()
        records.close()


def _also(heard: Listener, line: LogLine) -> LogLine:
    def both(kind: str, actor: str, text: str) -> None:
        line(kind, actor, text)
        heard(kind, actor, text)

    return both
