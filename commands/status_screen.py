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
from protocol.money import half_up, rupee_text

NOTICES_SHOWN = 8
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


def screen(result: Values, *, rungs_last: bool = False) -> RenderableType:
    """Everything, from top to bottom. A screen that cannot scroll wants the long table of rungs last."""
    actors = result.get("actors", {})
    parts: list[RenderableType] = [_head(result, actors)]
    below: list[RenderableType] = []
    for name, answer in actors.items():
        if "problem" in answer:
            parts.append(Text(f"{name} does not answer: {answer['problem']}", style="bold red"))
        elif "account" in answer:
            parts.append(_account(answer))
            (below if rungs_last else parts).append(_rungs(answer.get("rungs", []), answer["account"]))
    parts += _tree(result.get("tree", {}))
    parts += _notices(result.get("notices", []))
    return Group(*parts, *below)


def _head(result: Values, actors: Values) -> Text:
    health, ticker, poller = (actors.get(name, {}) for name in ("health_monitor", "ticker", "poller"))
    line = Text(f"market {result.get('market_time', '-')} IST", style="bold")
    feed, age = health.get("feed", "unknown"), health.get("feed_age_s")
    line.append(f"  feed {feed}", style="green" if feed == "live" else "bold yellow")
    if age is not None:
        line.append(f", last price {age:.1f} s old")
    if ticker.get("finished"):
        line.append(", at its end")
    details = [f"fallbacks {health.get('fallbacks_started', 0)}", f"polls {poller.get('polls', 0)}"]
    details += [f"prices dropped {ticker.get('dropped', 0)}", f"loop lag {health.get('loop_lag_ms', 0):g} ms"]
    line.append("\n" + "  ".join(details), style="not bold")
    if health.get("disk_low"):
        line.append("  disk space is low: no entries", style="bold red")
    return line


def _account(account: Values) -> Text:
    """The account's state and capital."""
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
    return line


def _rungs(rungs: Sequence[Values], account: str) -> RenderableType:
    """One line per open rung; GTT says whether its protection stands at the broker."""
    if not rungs:
        return Text(f"account {account} has no open rung", style="dim")
    table = Table(box=None, padding=(0, 1, 0, 0), show_footer=True)
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
    table.add_row(
        Text(before, style="dim").append_text(name),
        Text(state, style=STATE_STYLES.get(state, "dim")),
        Text(str(restarts), style="yellow" if restarts else "dim"),
        "" if depth is None else Text(str(depth), style="yellow" if depth else "dim"),
        Text(crash, style="red", no_wrap=True, overflow="ellipsis"),
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
        text = f"  {severity:<7} {notice.get('source', '')}: {notice.get('text', '')}"
        yield line.append(text, style=SEVERITY_STYLES.get(severity, ""))
