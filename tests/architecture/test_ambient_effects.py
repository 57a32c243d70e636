"""Time, chance, threads, processes and the network come from effects.py alone (docs: architecture, effects).

Reads the sources; runs nothing of them. Names are followed through `import … as …`: an alias hides nothing.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]

# simulation/ makes the seeded world that effects are taken from; the dashboard is a process of its own.
EXEMPT = frozenset({"benchmarks", "dashboard", "effects.py", "simulation", "tests"})
FOLDERS = ("actors", "brokers", "commands", "market", "protocol", "store", "strategy")

TIME = {"time", "datetime.datetime.now", "datetime.datetime.utcnow", "datetime.datetime.today"}
TIME |= {"datetime.date.today", "trio.current_time"}
CHANCE = {"random", "secrets", "uuid", "os.urandom", "os.getrandom", "numpy.random"}
THREADS = {"threading", "_thread", "concurrent", "asyncio", "trio.to_thread", "trio.from_thread"}
THREADS |= {"trio.Path", "trio.open_file"}
PROCESSES = {"subprocess", "multiprocessing", "os.system", "os.popen", "os.fork", "os.posix_spawn"}
PROCESSES |= {"trio.open_process", "trio.run_process"}
NETWORK = {"socket", "urllib.request", "http.client", "trio.socket", "trio.SocketStream", "trio.serve_tcp"}
NETWORK |= {"trio.open_tcp_stream", "trio.open_tcp_listeners", "trio.open_unix_socket"}
NETWORK |= {"trio.serve_ssl_over_tcp", "trio.open_ssl_over_tcp_stream", "trio.open_ssl_over_tcp_listeners"}
FORBIDDEN = frozenset(TIME | CHANCE | THREADS | PROCESSES | NETWORK)

# What effects hands in has a type that must be nameable; making one is for effects alone.
ONLY_AS_TYPES = frozenset({"numpy.random.Generator", "random.Random", "trio.SocketStream"})


def ambient(source: str) -> list[str]:
    """Every use of a forbidden name in a file, by line."""
    tree = ast.parse(source)
    names: dict[str, str] = {}  # what a local name stands for
    used: list[tuple[int, str]] = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                bound = alias.asname or alias.name.partition(".")[0]
                names[bound] = alias.name if alias.asname else bound
                used.append((node.lineno, alias.name))
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            for alias in node.names:
                names[alias.asname or alias.name] = f"{node.module}.{alias.name}"
                used.append((node.lineno, f"{node.module}.{alias.name}"))
    inner = {node.value for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and node not in inner:
            used.append((node.lineno, _full_name(node, names)))
        elif isinstance(node, ast.Call):
            used.extend((node.lineno, name) for name in _reached_by_call(node, names))
    return [f"line {line}: {name}" for line, name in sorted(set(used)) if _is_forbidden(name)]


def _full_name(node: ast.expr, names: dict[str, str]) -> str:
    if isinstance(node, ast.Attribute):
        return f"{_full_name(node.value, names)}.{node.attr}"
    if isinstance(node, ast.Name):
        return names.get(node.id, f"local {node.id}")
    return "an expression"


def _reached_by_call(node: ast.Call, names: dict[str, str]) -> Iterator[str]:
    called = _full_name(node.func, names)
    if called in ONLY_AS_TYPES:
        yield f"{called}()"
    if called in ("importlib.import_module", "local __import__"):
        yield from (str(argument.value) for argument in node.args if isinstance(argument, ast.Constant))


def _is_forbidden(name: str) -> bool:
    parts = name.split(".")
    prefixes = {".".join(parts[:length]) for length in range(1, len(parts) + 1)}
    return bool(prefixes & FORBIDDEN) and name not in ONLY_AS_TYPES


def sources() -> Iterator[Path]:
    for path in sorted(ROOT.glob("*.py")):
        if path.name not in EXEMPT:
            yield path
    for folder in FOLDERS:
        yield from sorted((ROOT / folder).rglob("*.py"))


def test_only_effects_touches_time_chance_threads_and_the_network() -> None:
    found = [
        f"{path.relative_to(ROOT)}: {use}" for path in sources() for use in ambient(path.read_text(encoding="utf-8"))
    ]
    assert not found, "\n".join(found)


def test_no_package_escapes_the_check() -> None:
    packages = {path.parent.name for path in ROOT.glob("*/__init__.py") if not path.parent.name.startswith(".")}
    assert packages <= set(FOLDERS) | EXEMPT


def test_an_ambient_effect_is_caught_under_any_name() -> None:
    assert ambient("import time") == ["line 1: time"]
    assert ambient("from random import choice") == ["line 1: random.choice"]
    assert ambient("from random import Random\nrng = Random(4)") == ["line 2: random.Random()"]
    assert ambient("import os as system\n\nsystem.urandom(4)") == ["line 3: os.urandom"]
    assert ambient("import datetime\nnow = datetime.datetime.now()") == ["line 2: datetime.datetime.now"]
    assert ambient("from datetime import datetime as dt\nday = dt.utcnow") == ["line 2: datetime.datetime.utcnow"]
    assert ambient("from datetime import date\n\ndef f():\n    return date.today()") == ["line 4: datetime.date.today"]
    assert ambient("import trio\nasync def f():\n    await trio.to_thread.run_sync(g)")[-1:] == [
        "line 3: trio.to_thread.run_sync"
    ]
    assert ambient("from trio import open_process") == ["line 1: trio.open_process"]
    assert ambient("import numpy as np\ndraw = np.random.default_rng(1)")[-1:] == ["line 2: numpy.random.default_rng"]
    assert ambient("import importlib\nimportlib.import_module('threading')") == ["line 2: threading"]
    assert ambient("__import__('subprocess')") == ["line 1: subprocess"]


def test_what_effects_hands_out_may_be_used() -> None:
    assert not ambient("import numpy as np\n\ndef walk(rng: np.random.Generator): return rng.random(3)")
    assert not ambient("from numpy.random import Generator")
    assert not ambient("from random import Random\n\ndef draw(rng: Random): return rng.random()")
    assert not ambient("from datetime import datetime, time\nopening = time(9, 15)")
    assert not ambient("import trio\nasync def f(wire: trio.SocketStream):\n    await trio.sleep(1)")
    assert not ambient("def f(time): return time.now()")
