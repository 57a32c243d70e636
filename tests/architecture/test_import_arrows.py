"""Which way imports may point (docs: architecture). Reads the sources; runs nothing of them."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]

PURE = frozenset({"protocol", "strategy"})
PRODUCT = PURE | {"actors", "brokers", "commands", "dashboard", "effects", "market", "settings", "simulation"}
PRODUCT |= {"store", "supervisor"}
OURS = PRODUCT | {"benchmarks", "tests"}

MAY_IMPORT = {
    "protocol": frozenset[str](),
    "settings": frozenset({"protocol"}),
    "effects": frozenset({"protocol"}),
    "strategy": frozenset({"protocol"}),
    "market": frozenset({"protocol", "effects"}),
    "store": frozenset({"protocol", "effects"}),
    "brokers": frozenset({"protocol", "effects", "market"}),
    "actors": frozenset({"protocol", "strategy", "market", "effects"}),
    "dashboard": frozenset({"protocol", "settings", "effects", "strategy"}),
    "commands": PRODUCT - {"simulation", "dashboard", "supervisor"},
    "supervisor": frozenset({"commands"}),
    "simulation": PRODUCT - {"commands", "supervisor"},
    "tests": OURS,
    "benchmarks": OURS,
}

# What is said and what is decided must be readable and testable without an event loop, a disk or a network.
IO_LIBRARIES = frozenset({"asyncio", "httpx", "loguru", "socket", "sqlite3", "sqlite_utils", "trio", "trio_websocket"})


def imported(source: str) -> Iterator[tuple[int, str]]:
    """Line and top-level name of every absolute import, wherever in the file it stands."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield node.lineno, alias.name.partition(".")[0]
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            yield node.lineno, node.module.partition(".")[0]


def wrong_arrows(owner: str, source: str) -> list[str]:
    """What a file of `owner` imports and may not."""
    forbidden = OURS - MAY_IMPORT[owner] - {owner}
    if owner in PURE:
        forbidden |= IO_LIBRARIES
    return [f"line {line}: {owner} may not import {name}" for line, name in imported(source) if name in forbidden]


def sources() -> Iterator[tuple[str, Path]]:
    """Every file of ours with the part of the project it belongs to."""
    for path in sorted(ROOT.glob("*.py")):
        yield path.stem, path
    for folder in sorted(OURS):
        for path in sorted((ROOT / folder).rglob("*.py")):
            yield folder, path


def test_imports_point_only_along_the_arrows() -> None:
    wrong = [
        f"{path.relative_to(ROOT)}: {arrow}"
        for owner, path in sources()
        if owner in OURS
        for arrow in wrong_arrows(owner, path.read_text(encoding="utf-8"))
    ]
    assert not wrong, "\n".join(wrong)


def test_every_package_and_module_at_the_top_has_its_arrows() -> None:
    packages = {path.parent.name for path in ROOT.glob("*/__init__.py") if not path.parent.name.startswith(".")}
    modules = {path.stem for path in ROOT.glob("*.py")}
    assert packages | modules <= MAY_IMPORT.keys()
    assert MAY_IMPORT.keys() == OURS


def test_a_wrong_arrow_is_caught_wherever_it_hides() -> None:
    assert wrong_arrows("strategy", "from market.board import Board") == ["line 1: strategy may not import market"]
    assert wrong_arrows("actors", "def late():\n    import store.journal as j") == [
        "line 2: actors may not import store"
    ]
    assert wrong_arrows("market", "if TYPE_CHECKING:\n    from settings import Settings")
    assert wrong_arrows("commands", "import os, supervisor")
    assert wrong_arrows("protocol", "import trio")
    assert not wrong_arrows("strategy", "from strategy.ladder import Ladder\nfrom protocol.money import Paise")
    assert not wrong_arrows("actors", "from .mailbox import Address\nimport trio")
