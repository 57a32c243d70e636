"""What can be configured: one frozen class per section of config.toml, every default beside its name.

Owns names, units, limits and defaults of all settings. Never reads a file (commands/configuration.py does)
and never acts on a value. `commands/` hands plain values on to the tree; actors never see this module.

The file is written in a trader's units, the attributes are whole numbers: `capital = 240000` (rupees) is read
as `capital_paise`, `stop_pct = 2.5` as `stop_bp` (basis points), `first_entry = "09:26"` (IST) as
`first_entry_second` (of the day). Durations are written in seconds (`_s`); those in market time are read as
`_ns`, those in machine time keep `_s`. Defaults given to rupees, percent and the like are in the file's unit.
"""

from __future__ import annotations

import datetime
from collections.abc import Mapping
from enum import Enum, auto
from fractions import Fraction
from pathlib import Path
from typing import Any

import attrs

from protocol.clock import NS, second_from_text
from protocol.money import PAISE_PER_RUPEE

REQUIRED = attrs.NOTHING


class Kind(Enum):
    """What a value of the file can be; commands/values.py knows how each is read and written."""

    EXACT = auto()  # a number kept as a whole number of parts
    NUMBER = auto()
    SPEED = auto()
    SWITCH = auto()
    CHOICE = auto()
    TEXT = auto()
    PATH = auto()
    TIME = auto()
    DAY = auto()
    DAYS = auto()
    SYMBOLS = auto()
    TABLE = auto()
    TABLES = auto()


@attrs.frozen(kw_only=True)
class Form:
    """How one setting is written: its kind, its limits in the file's unit, and its key.

    The key is the attribute's name with `suffix` replaced by `file_suffix`. `refused` holds values that are
    known but cannot be had, with the reason. `section` is the class of a table, or of each table of a list.
    """

    kind: Kind
    low: float = 0
    high: float = 0
    unit: str = ""
    parts: int = 1
    suffix: str = ""
    file_suffix: str = ""
    options: tuple[str, ...] = ()
    refused: Mapping[Any, str] = attrs.field(factory=dict)
    pattern: str = ""
    expected: str = ""
    optional: bool = False
    section: type | None = None


def form_of(field: attrs.Attribute[Any]) -> Form:
    form: Form = field.metadata["form"]
    return form


def key_of(field: attrs.Attribute[Any]) -> str:
    """The key by which the file knows an attribute."""
    return field.name.removesuffix(form_of(field).suffix) + form_of(field).file_suffix


def setting(default: Any, kind: Kind, **form: Any) -> Any:
    return attrs.field(default=default, metadata={"form": Form(kind=kind, **form)})


def exact(default: Any, low: float, high: float, unit: str, parts: int = 1, suffixes: str = "/") -> Any:
    suffix, file_suffix = suffixes.split("/")
    value = default if default is REQUIRED else int(Fraction(str(default)) * parts)
    form: dict[str, Any] = {"low": low, "high": high, "unit": unit, "parts": parts}
    return setting(value, Kind.EXACT, suffix=suffix, file_suffix=file_suffix, **form)


def rupees(default: Any, low: float = 0) -> Any:
    return exact(default, low, 1_000_000_000, "rupees", PAISE_PER_RUPEE, "_paise/")


def percent(default: Any, low: float = 0, high: float = 100) -> Any:
    return exact(default, low, high, "percent", 100, "_bp/_pct")


def turnover_percent(default: Any) -> Any:
    """Kept in rupees per crore (1 % = 100,000), because the exchange's 0.00307 % is no whole number of bp."""
    return exact(default, 0, 100, "percent of turnover", 100_000, "_per_crore/_pct")


def market_seconds(default: Any, low: float, high: float) -> Any:
    return exact(default, low, high, "seconds of market time", NS, "_ns/_s")


def machine_seconds(default: float, low: float, high: float) -> Any:
    return setting(default, Kind.NUMBER, low=low, high=high, unit="seconds")


def switch(default: Any, refused: Mapping[bool, str] | None = None) -> Any:
    return setting(default, Kind.SWITCH, refused=refused or {})


def choice(default: Any, *options: str, refused: Mapping[str, str] | None = None) -> Any:
    return setting(default, Kind.CHOICE, options=options, refused=refused or {})


def text(default: Any, pattern: str, expected: str) -> Any:
    return setting(default, Kind.TEXT, pattern=pattern, expected=expected)


def file_path(default: str) -> Any:
    """Relative paths count from the working directory."""
    return setting(Path(default), Kind.PATH)


def optional_path() -> Any:
    return setting(None, Kind.PATH, optional=True)


def time_of_day(default: Any) -> Any:
    value = default if default is REQUIRED else second_from_text(default)
    return setting(value, Kind.TIME, suffix="_second")


def day(default: Any) -> Any:
    """A day that must be given, or "" where the default is None."""
    value = datetime.date.fromisoformat(default) if isinstance(default, str) else default
    return setting(value, Kind.DAY, optional=default is None)


def table(default: Any) -> Any:
    return setting(default, Kind.TABLE, section=type(default))


def tables(section: type, *default: Any) -> Any:
    return setting(default, Kind.TABLES, section=section)


NOT_YET = "this version has none yet"


@attrs.frozen(kw_only=True)
class MarketSettings:
    """Where prices come from: a recording between two days, or the simulated market from its seed."""

    feed: str = choice(
        "simulated",
        "simulated",
        "recorded",
        refused={"websocket": f"no JSON broker feed, {NOT_YET}", "kite": f"no Kite feed, {NOT_YET}"},
    )
    speed: float = setting(60.0, Kind.SPEED, low=0.01, high=100_000)
    directory: Path | None = optional_path()
    ticks: bool = switch(False)
    first_day: datetime.date | None = day(None)
    last_day: datetime.date | None = day(None)
    seed: int = exact(7, 0, 2_147_483_647, "a number")
    start_day: datetime.date = day("2026-11-23")


@attrs.frozen(kw_only=True)
class RungSettings:
    """One rung of the ladder. A target of 0 is none; `entry_pnl_bp` is what the rungs below must show."""

    stop_bp: int = percent(REQUIRED, 0.1, 50)
    target_bp: int = percent(REQUIRED)
    trail: bool = switch(REQUIRED)
    entry_pnl_bp: int = percent(REQUIRED)


@attrs.frozen(kw_only=True)
class StrategySettings:
    """What is bought, when, and how it is left (trading rules)."""

    capital_paise: int = rupees(240_000, 1)
    capital_per_position_paise: int = rupees(3_000, 1)
    max_positions: int = exact(90, 1, 10_000, "rungs")
    scan_interval_ns: int = market_seconds(60, 1, 3600)
    min_rank_gm: float = setting(2.5, Kind.NUMBER, low=-100, high=1000, unit="a Rank_GM")
    acceleration_weight: float = setting(0.0, Kind.NUMBER, low=0, high=10, unit="a factor")
    first_entry_second: int = time_of_day("09:26")
    last_entry_second: int = time_of_day("15:00")
    square_off_second: int = time_of_day("15:10")
    reentry_cooldown_ns: int = market_seconds(900, 0, 86_400)
    stop_grace_ns: int = market_seconds(3, 0, 600)
    trail_interval_ns: int = market_seconds(1, 0, 600)
    trail_step_bp: int = percent(0.1, 0, 10)
    stop_limit_offset_bp: int = percent(1, 0, 20)
    trigger_grace_ns: int = market_seconds(10, 0, 600)
    entry_offset_bp: int = percent(0.3, 0, 5)
    entry_timeout_ns: int = market_seconds(30, 1, 3600)
    entry_ttl_ns: int = market_seconds(5, 1, 600)
    max_slippage_bp: int = percent(0.5, 0, 10)
    retry_after_ns: int = market_seconds(60, 0, 86_400)
    attempts_per_rung: int = exact(3, 1, 20, "attempts")
    p1: RungSettings = table(RungSettings(stop_bp=250, target_bp=500, trail=False, entry_pnl_bp=0))
    p2: RungSettings = table(RungSettings(stop_bp=250, target_bp=0, trail=True, entry_pnl_bp=25))
    p3: RungSettings = table(RungSettings(stop_bp=500, target_bp=0, trail=True, entry_pnl_bp=100))


@attrs.frozen(kw_only=True)
class KiteSettings:
    """How Zerodha Kite is reached. Used by `login`; the secrets come from the environment and are never shown."""

    api_key: str = text("", "[A-Za-z0-9]*", 'the API key of your Kite app, best as "${KITE_API_KEY}"')
    api_secret: str = attrs.field(
        default="",
        repr=False,
        metadata=text("", "[A-Za-z0-9]*", 'the API secret of your app, best as "${KITE_API_SECRET}"').metadata,
    )
    token_file: Path = file_path("var/kite-token.json")
    api_url: str = text("https://api.kite.trade", "https?://.+", "a URL")
    ticker_url: str = text("wss://ws.kite.trade", "wss?://.+", "a URL")
    login_url: str = text("https://kite.zerodha.com/connect/login", "https?://.+", "a URL")
    product: str = choice("CNC", "CNC", "MTF")
    gtt_allowance: int = exact(250, 1, 500, "GTTs")
    static_ip: str = text("", "[0-9a-fA-F.:]*", "the address you registered, or nothing")
    request_timeout_s: float = machine_seconds(5.0, 0.1, 60)


@attrs.frozen(kw_only=True)
class BrokerSettings:
    """Where orders go, and how real the paper exchange is."""

    type: str = choice(
        "paper",
        "paper",
        refused={"websocket": f"no JSON broker session, {NOT_YET}", "kite": f"no Kite session, {NOT_YET}"},
    )
    latency_ms: int = exact(0, 0, 60_000, "milliseconds of market time")
    slippage_bps: int = exact(0, 0, 1_000, "basis points")
    partial_fills: bool = switch(False)
    gtt_min_distance_bp: int = percent(0, 0, 10)
    kite: KiteSettings = table(KiteSettings())


@attrs.frozen(kw_only=True)
class RiskSettings:
    """Limits against a fat finger, and what is never bought. See Settings.kill_switch_path for the file."""

    max_order_value_paise: int = rupees(100_000, 1)
    max_order_quantity: int = exact(10_000, 1, 10_000_000, "shares")
    max_orders_per_minute_per_symbol: int = exact(30, 1, 1_000, "orders")
    max_distance_bp: int = percent(20, 0.1, 100)
    surveillance: tuple[str, ...] = setting((), Kind.SYMBOLS)
    kill_switch: bool = switch(False)
    kill_switch_file: Path | None = optional_path()


@attrs.frozen(kw_only=True)
class ChargeSettings:
    """One schedule of charges, valid until the next begins; rates in rupees per crore of turnover."""

    effective_from: datetime.date = day(REQUIRED)
    intraday_brokerage_per_crore: int = turnover_percent(REQUIRED)
    intraday_brokerage_max_paise: int = rupees(REQUIRED)
    delivery_brokerage_per_crore: int = turnover_percent(REQUIRED)
    intraday_stt_sell_per_crore: int = turnover_percent(REQUIRED)
    delivery_stt_per_crore: int = turnover_percent(REQUIRED)
    exchange_per_crore: int = turnover_percent(REQUIRED)
    sebi_per_crore: int = turnover_percent(REQUIRED)
    intraday_stamp_buy_per_crore: int = turnover_percent(REQUIRED)
    delivery_stamp_buy_per_crore: int = turnover_percent(REQUIRED)
    gst_bp: int = percent(REQUIRED)
    depository_per_scrip_paise: int = rupees(REQUIRED)


ZERODHA_2026 = ChargeSettings(
    effective_from=datetime.date(2026, 4, 1),
    intraday_brokerage_per_crore=3_000,
    intraday_brokerage_max_paise=2_000,
    delivery_brokerage_per_crore=0,
    intraday_stt_sell_per_crore=2_500,
    delivery_stt_per_crore=10_000,
    exchange_per_crore=307,
    sebi_per_crore=10,
    intraday_stamp_buy_per_crore=300,
    delivery_stamp_buy_per_crore=1_500,
    gst_bp=1_800,
    depository_per_scrip_paise=1_534,
)


@attrs.frozen(kw_only=True)
class StorageSettings:
    """Databases, socket and lock; `power` fsyncs before every order, `process` survives a killed process."""

    directory: Path = file_path("var")
    durability: str = choice("process", "process", "power")
    backup_days: int = exact(14, 1, 3_650, "days")
    reserve_mb: int = exact(32, 1, 10_000, "megabytes")
    wal_limit_mb: int = exact(64, 1, 10_000, "megabytes")


@attrs.frozen(kw_only=True)
class LogSettings:
    directory: Path = file_path("logs")
    rotation_mb: int = exact(100, 1, 10_000, "megabytes")
    keep_days: int = exact(30, 1, 3_650, "days")
    console_level: str = choice("INFO", "DEBUG", "INFO", "WARNING", "ERROR")


@attrs.frozen(kw_only=True)
class HealthSettings:
    """When a price, the feed, the event loop or the disk is unhealthy."""

    stale_symbol_ns: int = market_seconds(5, 1, 3_600)
    stale_feed_ns: int = market_seconds(30, 1, 3_600)
    poll_interval_ns: int = market_seconds(5, 1, 3_600)
    loop_lag_ms: int = exact(250, 1, 60_000, "milliseconds")
    disk_free_mb: int = exact(256, 1, 1_000_000, "megabytes")


@attrs.frozen(kw_only=True)
class SupervisionSettings:
    """Restarts and deadlines of actors, in machine time: `intensity` restarts in `window_s`, then failure."""

    intensity: int = exact(10, 1, 1_000, "restarts")
    window_s: float = machine_seconds(60.0, 1, 3_600)
    backoff_first_s: float = machine_seconds(0.1, 0.001, 60)
    backoff_max_s: float = machine_seconds(30.0, 0.001, 3_600)
    reset_after_s: float = machine_seconds(60.0, 1, 86_400)
    start_timeout_s: float = machine_seconds(30.0, 0.1, 600)
    stop_timeout_s: float = machine_seconds(2.0, 0.1, 60)
    handler_timeout_s: float = machine_seconds(10.0, 0.1, 600)


@attrs.frozen(kw_only=True)
class SpecialSessionSettings:
    """A session outside the usual hours, such as Muhurat trading."""

    date: datetime.date = day(REQUIRED)
    open_second: int = time_of_day(REQUIRED)
    close_second: int = time_of_day(REQUIRED)


@attrs.frozen(kw_only=True)
class CalendarSettings:
    """What is added to the built-in NSE calendar; without `closing_auction_from` there is no such auction."""

    holidays: tuple[datetime.date, ...] = setting((), Kind.DAYS)
    closing_auction_from: datetime.date | None = setting(datetime.date(2026, 8, 3), Kind.DAY, optional=True)
    special_sessions: tuple[SpecialSessionSettings, ...] = tables(SpecialSessionSettings)


@attrs.frozen(kw_only=True)
class DashboardSettings:
    enabled: bool = switch(False, refused={True: f"false: no dashboard, {NOT_YET}"})
    host: str = text("127.0.0.1", r"[A-Za-z0-9.:-]{1,255}", "a host name or address")
    port: int = exact(5050, 1, 65_535, "a port")


SLUG = r"[a-z0-9][a-z0-9-]{0,15}"
SLUG_IN_WORDS = "1 to 16 of a-z, 0-9 and -, a letter or digit first"


@attrs.frozen(kw_only=True)
class UserSettings:
    """A person whose accounts trade."""

    name: str = text(REQUIRED, SLUG, SLUG_IN_WORDS)


@attrs.frozen(kw_only=True)
class AccountSettings:
    """One account at a broker. `tag` stands in every client order id: never the same for two accounts."""

    id: str = text(REQUIRED, SLUG, SLUG_IN_WORDS)
    user: str = text(REQUIRED, SLUG, SLUG_IN_WORDS)
    broker: str = choice("paper", "paper", refused={"websocket": NOT_YET, "kite": NOT_YET})
    tag: str = text(REQUIRED, r"[A-Z0-9]{2}", "two of A-Z and 0-9")


OWNER = UserSettings(name="owner")
MAIN_ACCOUNT = AccountSettings(id="main", user="owner", tag="01")


@attrs.frozen(kw_only=True)
class Settings:
    """Everything that can be configured, as the tree will run with it."""

    market: MarketSettings = table(MarketSettings())
    strategy: StrategySettings = table(StrategySettings())
    broker: BrokerSettings = table(BrokerSettings())
    risk: RiskSettings = table(RiskSettings())
    storage: StorageSettings = table(StorageSettings())
    logs: LogSettings = table(LogSettings())
    health: HealthSettings = table(HealthSettings())
    supervision: SupervisionSettings = table(SupervisionSettings())
    calendar: CalendarSettings = table(CalendarSettings())
    dashboard: DashboardSettings = table(DashboardSettings())
    charges: tuple[ChargeSettings, ...] = tables(ChargeSettings, ZERODHA_2026)
    users: tuple[UserSettings, ...] = tables(UserSettings, OWNER)
    accounts: tuple[AccountSettings, ...] = tables(AccountSettings, MAIN_ACCOUNT)

    @property
    def kill_switch_path(self) -> Path:
        """The file that stops entries while it exists: the one that is named, or one beside the databases."""
        return self.risk.kill_switch_file or self.storage.directory / "kill-switch"
