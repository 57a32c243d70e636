"""From settings to a living tree: builds the real parts and plugs them in.

Owns the translation of settings into the values that actors take (they get values, not settings) and the opening
and closing of what the tree uses. Called by run and replay; decides nothing about trading.
"""

from __future__ import annotations

import shutil
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import attrs
import trio

from actors.child import Limits
from actors.order_router import Timings
from actors.ports import LogLine, MarketRecords
from actors.scanner import ScanRules
from actors.tree import AccountParts, Deadlines, Health, Parts, Tree
from brokers.paper import PaperBroker, PaperExchange, PaperOptions, continuous_trading
from commands.day_report import day_line, schedules_of
from commands.journals import kill_switch_left_on
from effects import Effects
from market.board import Board
from market.calendar import SpecialSession, TradingCalendar
from market.feeds.frame import Feed
from market.feeds.recorded import RecordedFeed
from market.feeds.simulated import SimulatedFeed
from protocol.clock import at, ist_date
from settings import RungSettings, Settings
from store.journal import Journal
from store.opening import memory_journal, open_journal, open_market_store
from strategy.ladder import LadderRules, RungRule
from strategy.risk import RiskLimits

MEGABYTE = 1 << 20
MODE = "paper"


@attrs.frozen(kw_only=True)
class Opened:
    """What a run opened: the tree, its journals by account, and what opening has to say aloud."""

    tree: Tree
    effects: Effects
    feed: Feed
    journals: dict[str, Journal]
    remarks: tuple[str, ...]


def ladder_rules(settings: Settings) -> LadderRules:
    strategy = settings.strategy
    return LadderRules(
        rungs=(_rung(strategy.p1), _rung(strategy.p2), _rung(strategy.p3)),
        capital_per_position_paise=strategy.capital_per_position_paise,
        trail_step_bp=strategy.trail_step_bp,
        trail_interval_ns=strategy.trail_interval_ns,
        stop_grace_ns=strategy.stop_grace_ns,
        stop_limit_offset_bp=strategy.stop_limit_offset_bp,
        first_entry_s=strategy.first_entry_second,
        last_entry_s=strategy.last_entry_second,
        square_off_s=strategy.square_off_second,
        cooldown_ns=strategy.reentry_cooldown_ns,
        stale_ns=settings.health.stale_symbol_ns,
    )


def _rung(rung: RungSettings) -> RungRule:
    return RungRule(
        stop_bp=rung.stop_bp,
        target_bp=rung.target_bp or None,
        trailing=rung.trail,
        entry_pnl_bp=rung.entry_pnl_bp,
    )


def risk_limits(settings: Settings) -> RiskLimits:
    strategy, risk = settings.strategy, settings.risk
    return RiskLimits(
        capital_paise=strategy.capital_paise,
        max_positions=strategy.max_positions,
        max_order_value_paise=risk.max_order_value_paise,
        max_order_quantity=risk.max_order_quantity,
        max_orders_per_minute_per_symbol=risk.max_orders_per_minute_per_symbol,
        max_distance_bp=risk.max_distance_bp,
        surveillance=frozenset(risk.surveillance),
        first_entry_s=strategy.first_entry_second,
        last_entry_s=strategy.last_entry_second,
        stale_ns=settings.health.stale_symbol_ns,
    )


def trading_calendar(settings: Settings) -> TradingCalendar:
    return TradingCalendar(
        extra_holidays=frozenset(settings.calendar.holidays),
        extra_sessions=tuple(
            SpecialSession(session.date, session.open_second, session.close_second)
            for session in settings.calendar.special_sessions
        ),
        closing_auction_from=settings.calendar.closing_auction_from,
    )


def make_feed(settings: Settings, calendar: TradingCalendar, effects: Effects) -> Feed:
    """The market that the settings name. Raises RecordingError for a recording that cannot be played."""
    market = settings.market
    if market.feed == "recorded":
        assert market.directory is not None, "settings demand a directory for a recorded feed"
        return RecordedFeed(
            market.directory,
            calendar,
            first_day=market.first_day,
            last_day=market.last_day,
            ticks=market.ticks,
        )
    return SimulatedFeed(effects.np_rng, calendar, first_day=market.start_day)


@contextmanager
def opened(
    settings: Settings,
    effects: Effects,
    *,
    log: LogLine,
    give_up_process: Callable[[str], None],
    out_of_disk: Callable[[str], None],
) -> Iterator[Opened]:
    """A tree on the files of the settings, resumed where the journals ended; everything is closed afterwards.

    Raises StoreBusy when another process has one of the journals, StoreError, RecordingError.
    """
    storage = settings.storage
    remarks: list[str] = []
    records, report = open_market_store(storage.directory, now_ns=effects.wall_ns(), wal_limit_mb=storage.wal_limit_mb)
    remarks += report.remarks
    journals: dict[str, Journal] = {}
    try:
        for account in settings.accounts:
            journals[account.id], report = open_journal(
                storage.directory,
                account=account.id,
                mode=MODE,
                chance=Effects().rng("database ids"),
                now_ns=effects.wall_ns(),
                durability=storage.durability,
                wal_limit_mb=storage.wal_limit_mb,
                reserve_mb=storage.reserve_mb,
                backup_days=storage.backup_days,
            )
            remarks += report.remarks
            if kill_switch_left_on(journals[account.id]):
                remarks.append(f"account {account.id}: the kill switch was left on, so there are no entries")
        last_ranking = records.last_ranking()
        resume_ns = max(
            last_ranking.at_ns if last_ranking is not None else 0,
            *(journal.last_market_ns() for journal in journals.values()),
        )

        async def upkeep() -> None:
            for checkpoint in (records.checkpoint_if_idle, *(j.checkpoint_if_idle for j in journals.values())):
                await effects.run_blocking(checkpoint)

        tree, feed = plant(
            settings,
            effects,
            journals=journals,
            records=records,
            log=log,
            give_up_process=give_up_process,
            out_of_disk=out_of_disk,
            upkeep=upkeep,
            resume_ns=resume_ns,
            gateway_path=storage.directory / "gateway.sock",
            watch_machine=True,
        )
        yield Opened(tree=tree, effects=effects, feed=feed, journals=journals, remarks=tuple(remarks))
    finally:
        for journal in journals.values():
            journal.close()
        records.close()


def plant(
    settings: Settings,
    effects: Effects,
    *,
    journals: dict[str, Journal],
    records: MarketRecords,
    log: LogLine,
    give_up_process: Callable[[str], None],
    out_of_disk: Callable[[str], None],
    upkeep: Callable[[], Awaitable[None]] = trio.lowlevel.checkpoint,
    resume_ns: int = 0,
    gateway_path: Path | None = None,
    feed: Feed | None = None,
    watch_machine: bool = False,
) -> tuple[Tree, Feed]:
    """The tree over given journals. The market stands at the feed's first item, nothing has been played yet.

    `watch_machine`: look at the disk, the kill-switch file and the loop's lag, as a run does and a replay does not.
    """
    calendar = trading_calendar(settings)
    feed = feed or make_feed(settings, calendar, effects)
    if resume_ns:
        feed.skip_to(resume_ns)
    first = feed.peek()
    effects.market.advance_to(max(resume_ns, first.at_ns if first is not None else 0))
    board = Board(len(feed.universe), len(journals))
    schedules = schedules_of(settings)
    exchange = PaperExchange(
        feed.universe,
        board,
        effects.market,
        continuous_trading(calendar, feed.universe),
        effects.rng,
        PaperOptions(
            latency_ms=settings.broker.latency_ms,
            slippage_bp=settings.broker.slippage_bps,
            partial_fills=settings.broker.partial_fills,
            gtt_min_distance_bp=settings.broker.gtt_min_distance_bp,
        ),
    )
    accounts = []
    for account in settings.accounts:
        journal = journals[account.id]
        _seat(exchange, account.id, journal, effects.market.now_ns)
        accounts.append(
            AccountParts(
                id=account.id,
                tag=account.tag,
                journal=journal,
                broker=PaperBroker(exchange, account.id),
                limits=risk_limits(settings),
                kill_switch=settings.risk.kill_switch or kill_switch_left_on(journal),
            )
        )
    strategy, health, supervision = settings.strategy, settings.health, settings.supervision
    tree = Tree(
        Parts(
            effects=effects,
            feed=feed,
            board=board,
            calendar=calendar,
            exchanges=(exchange,),
            accounts=accounts,
            records=records,
            scan=ScanRules(
                interval_ns=strategy.scan_interval_ns,
                min_rank_gm=strategy.min_rank_gm,
                acceleration_weight=strategy.acceleration_weight,
                ladder=ladder_rules(settings),
            ),
            timings=Timings(
                entry_ttl_ns=strategy.entry_ttl_ns,
                entry_timeout_ns=strategy.entry_timeout_ns,
                retry_after_ns=strategy.retry_after_ns,
                trigger_grace_ns=strategy.trigger_grace_ns,
                entry_offset_bp=strategy.entry_offset_bp,
                max_slippage_bp=strategy.max_slippage_bp,
                attempts_per_rung=strategy.attempts_per_rung,
            ),
            health=Health(
                stale_feed_ns=health.stale_feed_ns,
                poll_interval_ns=health.poll_interval_ns,
                loop_lag_ms=health.loop_lag_ms,
                reason_to_stop=lambda: _reason_to_stop(settings),
                upkeep=upkeep,
            ),
            deadlines=Deadlines(
                start_timeout_s=supervision.start_timeout_s,
                stop_timeout_s=supervision.stop_timeout_s,
                handler_timeout_s=supervision.handler_timeout_s,
            ),
            limits=Limits(
                intensity=supervision.intensity,
                window_s=supervision.window_s,
                backoff_base_s=supervision.backoff_first_s,
                backoff_max_s=supervision.backoff_max_s,
                reset_after_s=supervision.reset_after_s,
            ),
            speed=settings.market.speed,
            lockstep=True,
            log=log,
            day_summary=lambda journal, at_ns: day_line(journal, at_ns, schedules, calendar),
            give_up_process=give_up_process,
            out_of_disk=out_of_disk,
            gateway_path=gateway_path,
            watch_machine=watch_machine,
        )
    )
    return tree, feed


def _seat(exchange: PaperExchange, account: str, journal: Journal, now_ns: int) -> None:
    """The account's seat at the paper exchange, with everything the journal says it has there."""
    exchange.open_account(account, f"{journal.database_id}{journal.start_counter}-")
    today_ns = at(ist_date(now_ns), 0)
    rungs = journal.live_rungs(today_ns)
    todays = {order.client_id: order for order in (*journal.working_orders(), *journal.orders_since(today_ns))}
    exchange.restore(
        account,
        orders=list(todays.values()),
        gtts=journal.live_gtts(),
        rungs=rungs,
    )


def _reason_to_stop(settings: Settings) -> str:
    """Why nothing may be entered now: the kill-switch file, or too little space on the disk."""
    if settings.kill_switch_path.exists():
        return f"kill switch: {settings.kill_switch_path} exists"
    free_mb = shutil.disk_usage(settings.storage.directory).free // MEGABYTE
    least_mb = settings.health.disk_free_mb
    return f"{free_mb} MB free on the disk, {least_mb} MB wanted" if free_mb < least_mb else ""


def in_memory(settings: Settings, effects: Effects) -> dict[str, Journal]:
    """A journal without a file for every account: a replay leaves nothing behind but its report."""
    return {account.id: memory_journal(chance=effects.rng("database ids")) for account in settings.accounts}
