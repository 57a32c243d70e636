"""The picture of a running tree, from the gateway's answer to `status`. Pure: JSON values in, rich out.

Fits 80 columns. The answer may come from another version: what is missing is left out, nothing fails.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from commands.amounts import colour_of, grouped, percent
from commands.console_lines import notice_in_words
from protocol.money import half_up, rupee_text
from strategy.day import DayStatistics

NOTICES_SHOWN = 8
KILLED = "Killed:"  # how a crash begins that was a kill from outside
STATE_STYLES = {
    "up": "green",
    "starting": "yellow",
    "waiting": "yellow",
    "stopping": "yellow",
    "given up": "bold red",
}
PROTECTION = {
    "STANDING": Text("yes", style="green"),
    "REQUESTED": Text("asked", style="yellow"),
    "FIRED": Text("fired", style="cyan"),
    "NONE": Text("NONE", style="bold red"),
}
SEVERITY_STYLES = {"info": "dim", "warning": "yellow", "alert": "bold red"}

Values = Mapping[str, Any]
Days = Mapping[str, DayStatistics]  # by account: the day so far


def screen(result: Values, days: Days | None = None, *, rungs_last: bool = False) -> Group:
    """Everything, from top to bottom. A screen that cannot scroll wants the long table of rungs last."""
    days = days or {}
    actors = result.get("actors", {})
    parts: list[RenderableType] = [*_stopped(actors), _head(result, actors)]
    below: list[RenderableType] = []
    for name, answer in actors.items():
        if "problem" in answer:
            parts.append(Text(f"{name} does not answer: {answer['problem']}", style="bold red"))
        elif "account" in answer:
            parts.append(_account(answer, days.get(answer["account"])))
            (below if rungs_last else parts).append(_rungs(answer.get("rungs", []), answer["account"]))
    parts += _tree(result.get("tree", {}))
    parts += _notices(result.get("notices", []))
    return Group(*parts, *below)


def _stopped(actors: Values) -> Iterator[Text]:
    """Why nothing new is bought, before everything else."""
    reasons = [str(actors.get("health_monitor", {}).get("entries_stopped", ""))]
    for answer in actors.values():
        for name, words in (("kill_switch", "kill switch on"), ("disk_full", "disk full")):
            if answer.get(name):
                reasons.append(f"account {answer.get('account', '-')}: {words}")
    reasons = [reason for reason in reasons if reason]
    if reasons:
        yield Text(" NO NEW ENTRIES ", style="bold white on red").append(f" {'; '.join(reasons)}", style="not bold red")


def _head(result: Values, actors: Values) -> Text:
    health, ticker, poller = (actors.get(name, {}) for name in ("health_monitor", "ticker", "poller"))
    line = Text(f"market {result.get('market_time', '-')} IST", style="bold")
    feed, age = health.get("feed", "unknown"), health.get("feed_age_s")
    line.append(f"  feed {feed}", style="green" if feed == "live" else "bold yellow")
    if age is not None:
        line.append(f", last price {age:.1f} s old")
    if ticker.get("finished"):
        line.append(", at its end")
    counted = {
        "fallbacks": health.get("fallbacks_started", 0),
        "polls": poller.get("polls", 0),
        "prices dropped": ticker.get("dropped", 0),
    }
    details = [f"{name} {count}" for name, count in counted.items() if count]
    line.append("  ".join(["", *details, f"loop lag {health.get('loop_lag_ms', 0):g} ms"]), style="dim not bold")
    return line


def _account(account: Values, day: DayStatistics | None) -> Text:
    """The account's state, its capital, and what the day has brought so far."""
    state, deployed, capital = account.get("state", "-"), account["deployed_paise"], account["capital_paise"]
    line = Text(f"\naccount {account['account']}  ", style="bold")
    line.append(state, style="bold green" if state == "TRADING" else "bold yellow")
    line.append(f"  rungs {account.get('slots', 0)} of {account.get('max_positions', 0)}", style="not bold")
    for name, text in (("kill_switch", "kill switch ON: no entries"), ("disk_full", "disk full: no entries")):
        if account.get(name):
            line.append(f"  {text}", style="bold red")
    available = rupee_text(capital - deployed)
    money = f"\ndeployed {rupee_text(deployed)} of {rupee_text(capital)}, available {available}"
    line.append(money, style="not bold")
    for symbol, why in account.get("frozen", {}).items():
        line.append(f"\n{symbol} is not entered until a person has looked: {why}", style="bold red")
    if day is not None:
        line.append("\ntoday  ", style="not bold").append_text(_earned(day))
    return line


def _earned(day: DayStatistics) -> Text:
    net = Text(f"net {rupee_text(day.net_paise, sign=True)}", style=colour_of(day.net_paise))
    gross, charges = rupee_text(day.gross_paise, sign=True), rupee_text(day.charges_paise)
    return net.append(f"  gross {gross}  charges {charges}  {day.wins} of {day.trades} won", style="default not bold")


def _rungs(rungs: Sequence[Values], account: str) -> RenderableType:
    """One line per open rung; GTT says whether its protection stands at the broker."""
    if not rungs:
        return Text(f"account {account} has no open rung", style="dim")
    table = Table(box=None, padding=(0, 1, 0, 0), show_footer=True, footer_style="bold")
    total, cost = sum(rung["pnl_paise"] for rung in rungs), sum(rung["cost_paise"] for rung in rungs)
    feet: dict[str, str | Text] = {
        "symbol": f"{len(rungs)} open",
        "pnl": _gain(total),
        "%": percent(total, cost),
    }
    for heading in ("symbol", "", "qty", "entry", "last", "pnl", "%", "stop", "target", "GTT"):
        right = heading in ("qty", "entry", "last", "pnl", "%", "stop", "target")
        table.add_column(heading, feet.get(heading, ""), justify="right" if right else "left", no_wrap=True)
    for rung in sorted(rungs, key=lambda rung: (rung["symbol"], rung["rung"])):
        gain = rung["pnl_paise"]
        table.add_row(
            rung["symbol"],
            f"P{rung['rung']}",
            str(rung["quantity"]),
            grouped(half_up(rung["cost_paise"], rung["quantity"])) if rung["quantity"] else "-",
            _price(rung["last_paise"]),
            _gain(gain),
            Text(percent(gain, rung["cost_paise"]), style=colour_of(gain)),
            _price(rung["stop_paise"]),
            _price(rung["target_paise"]),
            PROTECTION.get(rung["protection"], Text(str(rung["protection"]).lower())),
        )
    return table


def _price(paise: int) -> str:
    return grouped(paise) if paise else "-"


def _gain(paise: int) -> Text:
    return Text(grouped(paise, sign=True), style=colour_of(paise))


# --- the tree -------------------------------------------------------------------------------------------


def _tree(root: Values) -> Iterator[RenderableType]:
    """One line per actor; positions at rest only by name, because there may be ninety of them."""
    table = Table(box=None, padding=(0, 1, 0, 0), title="")
    table.add_column("actor", no_wrap=True)
    table.add_column("state", no_wrap=True)
    table.add_column("restarts", justify="right", no_wrap=True)
    table.add_column("mailbox", justify="right", no_wrap=True)
    table.add_column("last crash")  # the one column that gives way when the screen is narrow
    resting: list[str] = []
    if root:
        _add(table, root, "", "", resting)
    yield table
    if resting:
        yield Text(f"positions at rest: {', '.join(sorted(resting))}", style="dim")


def _add(table: Table, node: Values, before: str, below: str, resting: list[str]) -> None:
    """A node and those under it; `before` is drawn left of its name, `below` left of its children."""
    state, restarts, depth = node.get("state", "-"), node.get("restarts", 0), node.get("depth")
    name = Text(node.get("name", "-"), style="bold" if node.get("kind") == "supervisor" else "")
    crash = (node.get("last_crash") or "").partition("\n")[0]
    killed = crash.startswith(KILLED)
    table.add_row(
        Text(before, style="dim").append_text(name),
        Text(state, style=STATE_STYLES.get(state, "dim")),
        Text(str(restarts), style="yellow" if restarts else "dim"),
        "" if depth is None else Text(str(depth), style="yellow" if depth else "dim"),
        Text("killed" if killed else crash, style="dim" if killed else "red", no_wrap=True, overflow="ellipsis"),
    )
    children = node.get("children", [])
    resting += [child["name"].partition(":")[2] for child in children if _at_rest(child)]
    shown = [child for child in children if not _at_rest(child)]
    for place, child in enumerate(shown, start=1):
        branch, under = ("└─ ", "   ") if place == len(shown) else ("├─ ", "│  ")
        _add(table, child, below + branch, below + under, resting)


def _at_rest(node: Values) -> bool:
    """A position that is up, was never restarted and has nothing to do."""
    position = str(node.get("name", "")).startswith("position:")
    return position and node.get("state") == "up" and not node.get("restarts") and not node.get("depth")


def _notices(notices: Sequence[Values]) -> Iterator[Text]:
    """The last things a person should know, the newest last."""
    for place, notice in enumerate(notices[-NOTICES_SHOWN:]):
        severity = str(notice.get("severity", ""))
        line = Text("\n" if place == 0 else "").append(str(notice.get("at", ""))[11:], style="dim")
        text = f"  {severity:<7} {notice.get('source', '')}: {notice_in_words(str(notice.get('text', '')))}"
        yield line.append(text, style=SEVERITY_STYLES.get(severity, ""))


def figures(shown: Group) -> list[Table]:
    """The tables of a screen in which nothing may be cut: all but the tree, whose last column gives way."""
    return [part for part in shown.renderables if isinstance(part, Table) and part.show_footer]
