"""The command line: its verbs, the options every verb takes, and the exit codes.

Owns reading the configuration once for whichever verb runs. A verb's module is imported when the verb is
used, so that `--help` and `check` answer at once. Called by supervisor.py; verb files import `verb`.
"""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import attrs
import click

from commands.configuration import SettingsError, load
from protocol.errors import LocalProtocolError, PureAlphaError
from settings import Settings

EXIT_FAILED = 1
EXIT_CONFIGURATION = 2
EXIT_WOULD_NOT_STOP = 70
EXIT_CANNOT_WRITE = 74
EXIT_SECOND_INTERRUPT = 130

EXIT_CODES = (
    "Exit codes: 0 done; 1 failed; 2 wrong configuration or usage; 70 an actor would not stop; "
    "74 the journal cannot be written; 130 interrupted a second time."
)

VERBS = {
    "run": ("commands.run:run", "Run the whole tree and trade (this is what no verb at all does)."),
    "check": (
        "commands.check:check",
        "Say what would run, or everything that is wrong with the configuration.",
    ),
    "replay": ("commands.replay:replay", "Play recorded days on paper."),
    "login": ("commands.login:login", "Log in to Zerodha Kite for the day."),
    "status": ("commands.status:status", "Show the live tree, the positions and how fresh prices are."),
    "close": ("commands.close:close", "Sell one rung at market."),
    "kill-switch": ("commands.kill_switch:kill_switch", "Stop new entries, or let them go on."),
    "kill": ("commands.kill:kill", "End one actor, so that its supervisor starts it again."),
    "tail": ("commands.tail:tail", "Follow the logs."),
    "trades": ("commands.trades:trades", "List the trades of the journal."),
    "report": ("commands.report:report", "Sum up one day."),
}


@attrs.frozen
class _Before:
    """The options that stood before the verb."""

    config: Path | None
    overrides: tuple[str, ...]


def _shared_options() -> list[click.Parameter]:
    file = click.Path(path_type=Path)
    return [
        click.Option(["--config"], type=file, metavar="FILE", help="Settings to use instead of config.toml."),
        click.Option(
            ["--set", "overrides"],
            multiple=True,
            metavar="SECTION.KEY=VALUE",
            help="Change one setting for this run; may be repeated.",
        ),
    ]


asked_by = click.option(
    "--who",
    envvar="USER",
    default="command line",
    show_default="your user name",
    help="Who asks, for the journal and the log.",
)


def verb(
    *, implied: Callable[..., Mapping[str, Any]] | None = None
) -> Callable[[Callable[..., int | None]], click.Command]:
    """Make a function `(settings, **options) -> exit code or None` a verb of the command line.

    Its own options are declared with click's decorators below this one; `--config` and `--set` come with it,
    and a wrong configuration ends with exit code 2 before the function is called. `implied` gets the options
    and returns the settings they stand for, by dotted key, so that they are validated like all others; what
    the user gives with `--set` wins over them. The docstring is the help text. An error of ours raised on
    purpose (PureAlphaError) becomes one line on stderr and exit code 1.

        @verb(implied=lambda data, **_: {"market.feed": "recorded", "market.directory": str(data)})
        @click.option("--data", type=click.Path(path_type=Path), required=True)
        def replay(settings: Settings, data: Path) -> int: ...

    Add the verb to VERBS above with one line that says what it does.
    """

    def decorate(function: Callable[..., int | None]) -> click.Command:
        @click.pass_context
        def invoke(ctx: click.Context, /, config: Path | None, overrides: tuple[str, ...], **options: Any) -> None:
            before = ctx.find_object(_Before) or _Before(None, ())
            settings = _settings(
                config or before.config,
                (*before.overrides, *overrides),
                implied(**options) if implied else {},
            )
            try:
                code = function(settings, **options)
            except LocalProtocolError:
                raise  # a bug of ours: its traceback is wanted
            except PureAlphaError as error:
                raise click.ClickException(str(error)) from error
            ctx.exit(code or 0)

        own: list[click.Parameter] = getattr(function, "__click_params__", [])
        return click.Command(
            function.__name__,
            callback=invoke,
            params=[*reversed(own), *_shared_options()],
            help=inspect.getdoc(function),
            epilog=EXIT_CODES,
        )

    return decorate


def _settings(config: Path | None, overrides: Sequence[str], implied: Mapping[str, Any]) -> Settings:
    try:
        return load(config, overrides, implied=implied)
    except SettingsError as error:
        count = len(error.problems)
        click.echo(f"The configuration has {count} problem{'s' if count > 1 else ''}:", err=True)
        click.echo(str(error), err=True)
        raise click.exceptions.Exit(EXIT_CONFIGURATION) from error


class _Verbs(click.Group):
    """A group that imports a verb's module only when that verb is used."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(VERBS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in VERBS:
            return None
        module, _, name = VERBS[cmd_name][0].partition(":")
        command: click.Command = getattr(importlib.import_module(module), name)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Verbs"):
            formatter.write_dl([(name, summary) for name, (_, summary) in VERBS.items()])


@click.pass_context
def _front(ctx: click.Context, /, config: Path | None, overrides: tuple[str, ...]) -> None:
    ctx.obj = _Before(config, overrides)
    if ctx.invoked_subcommand is None:
        run = main.get_command(ctx, "run")
        assert run is not None
        with run.make_context("run", [], parent=ctx) as inner:
            run.invoke(inner)


main = _Verbs(
    "supervisor",
    callback=_front,
    invoke_without_command=True,
    params=_shared_options(),
    help="Trade NSE equities from one supervised tree of actors. With no verb, the tree runs.",
    epilog=EXIT_CODES,
)
