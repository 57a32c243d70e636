"""config.toml and --set: what is read, in which units, and how every mistake is named."""

from __future__ import annotations

import datetime
import math
import re
from pathlib import Path
from typing import Any

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from commands.configuration import DEFAULT_FILE, Problem, SettingsError, load, parse_value
from commands.structuring import in_file_terms
from settings import AccountSettings, ChargeSettings, DashboardSettings, Kind, Settings, UserSettings, form_of, key_of


def write(folder: Path, text: str) -> Path:
    file = folder / "mine.toml"
    file.write_text(text, encoding="utf-8")
    return file


def problems(path: Path | None = None, *overrides: str, environment: dict[str, str] | None = None) -> list[Problem]:
    with pytest.raises(SettingsError) as caught:
        load(path, overrides, environment=environment or {})
    return list(caught.value.problems)


def only_problem(*overrides: str) -> Problem:
    (problem,) = problems(None, *overrides)
    return problem


# --- the repository's file


def test_config_toml_says_exactly_the_defaults() -> None:
    assert load(DEFAULT_FILE) == Settings()


def test_config_toml_lists_every_setting_with_a_comment() -> None:
    section, commented = "", set()
    for line in DEFAULT_FILE.read_text(encoding="utf-8").splitlines():
        if header := re.match(r"\[+([a-z0-9.]+)]", line):
            section = header[1]
        elif setting := re.match(r"([a-z0-9_]+) = [^#]+# \S", line):
            commented.add(f"{section}.{setting[1]}")
    assert commented == {*_dotted(Settings, "")}


def _dotted(section: type, prefix: str) -> set[str]:
    names = set()
    for field in attrs.fields(section):
        form, dotted = form_of(field), f"{prefix}{key_of(field)}"
        if form.section and field.default:
            names |= _dotted(form.section, f"{dotted}.")
        else:
            names.add(dotted)
    return names


def test_without_a_file_of_its_own_the_project_s_is_used(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    mine = write(tmp_path, "[strategy]\nmax_positions = 7")
    monkeypatch.setattr("commands.configuration.DEFAULT_FILE", mine)
    assert load().strategy.max_positions == 7
    mine.unlink()
    assert load() == Settings()


# --- units


def test_rupees_become_paise_percentages_basis_points_and_times_seconds(tmp_path: Path) -> None:
    file = write(
        tmp_path,
        """
        [strategy]
        capital = 50000.50
        first_entry = "09:30:15"
        last_entry = 14:00:00
        stop_grace_s = 0.5
        [strategy.p2]
        stop_pct = 1.25
        [supervision]
        backoff_first_s = 0.25
        [market]
        speed = "max"
        first_day = 2016-08-26
        last_day = "2016-09-09"
        """,
    )
    settings = load(file)
    assert settings.strategy.capital_paise == 5_000_050
    assert settings.strategy.first_entry_second == 9 * 3600 + 30 * 60 + 15
    assert settings.strategy.last_entry_second == 14 * 3600
    assert settings.strategy.stop_grace_ns == 500_000_000
    assert settings.strategy.p2.stop_bp == 125
    assert settings.supervision.backoff_first_s == 0.25
    assert settings.market.speed == math.inf
    assert settings.market.first_day == datetime.date(2016, 8, 26)
    assert settings.market.last_day == datetime.date(2016, 9, 9)


def test_a_file_needs_only_what_it_changes(tmp_path: Path) -> None:
    settings = load(write(tmp_path, "[strategy.p3]\nstop_pct = 6"))
    p3 = attrs.evolve(Settings().strategy.p3, stop_bp=600)
    assert settings == attrs.evolve(Settings(), strategy=attrs.evolve(Settings().strategy, p3=p3))


def test_charges_are_exact_in_rupees_per_crore() -> None:
    schedule = load().charges[0]
    assert schedule.exchange_per_crore == 307
    assert schedule.sebi_per_crore == 10
    assert schedule.intraday_stt_sell_per_crore == 2_500
    assert schedule.depository_per_scrip_paise == 1_534


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        ("strategy.capital=240000.005", "at most 2 decimals"),
        ("strategy.capital=0", "rupees from 1"),
        ("strategy.capital=nan", "rupees"),
        ("strategy.capital=true", "rupees"),
        ("strategy.p1.stop_pct=2.501", "at most 2 decimals"),
        ("strategy.p1.trail=1", "true or false"),
        ("strategy.max_positions=1.5", "a whole number"),
        ("strategy.first_entry=9:26", "HH:MM"),
        ("strategy.first_entry=25:00", "HH:MM"),
        ("market.speed=inf", '"max"'),
        ("market.first_day=2016-02-30", "YYYY-MM-DD"),
        ("market.start_day=", "YYYY-MM-DD"),
        ("calendar.holidays=2026-01-26", "a list of days"),
        ("risk.surveillance=[1]", "exchange symbols"),
        ("risk.kill_switch_file=3", "the path of a file"),
        ("storage.directory=", "the path of a file"),
        ("accounts.0.tag=a", "two of A-Z"),
        ("accounts.0.id=Main", "a-z"),
        ("users.0.role=viewer", "a known setting: name"),
        ("storage.durability=none", '"process" or "power"'),
        ("strategy.p1=3", "[strategy.p1]"),
        ("accounts=[1]", "[[accounts]]"),
        ("accounts.9.user=owner", "the number of a table"),
        ("accounts.first.user=owner", "the number of a table"),
        ("strategy.capital.rupees=3", "did you mean"),
        ("strategy.capitol=3", 'did you mean "capital"?'),
        ("nonsense=3", "market, strategy"),
    ],
)
def test_a_wrong_value_is_named_with_what_would_be_right(override: str, expected: str) -> None:
    problem = only_problem(override)
    assert problem.key == override.partition("=")[0]
    assert problem.source == f"--set {override}"
    assert expected in problem.expected


def test_what_this_version_cannot_do_is_refused_with_the_reason() -> None:
    assert "no Kite feed" in only_problem("market.feed=kite").expected
    assert "no JSON broker session" in only_problem("broker.type=websocket").expected
    assert "no dashboard" in only_problem("dashboard.enabled=true").expected


def test_the_kill_switch_file_lies_beside_the_databases_unless_it_is_named() -> None:
    assert load(None, ["storage.directory=elsewhere"]).kill_switch_path == Path("elsewhere/kill-switch")
    named = load(None, ["storage.directory=elsewhere", "risk.kill_switch_file=/run/stop"])
    assert named.kill_switch_path == Path("/run/stop")


def test_no_setting_is_checked_and_then_does_nothing() -> None:
    """Every setting is read where the tree or a verb is put together; `check` only prints."""
    folder = DEFAULT_FILE.parent / "commands"
    sources = [file for file in folder.glob("*.py") if file.name not in ("check.py", "agreement.py")]
    read = set(re.findall(r"\.(\w+)", "\n".join(file.read_text(encoding="utf-8") for file in sources)))
    read |= {field.name for field in attrs.fields(ChargeSettings)}  # handed on as a whole
    read |= {field.name for field in attrs.fields(DashboardSettings)}  # refused, so that nothing can depend on them
    read |= {"kill_switch_file", "user", "users", "dashboard"}  # Settings.kill_switch_path; agreement.py
    assert _attributes(Settings) - read == set()


def _attributes(section: type) -> set[str]:
    fields = attrs.fields(section)
    return {field.name for field in fields}.union(*(_attributes(s) for f in fields if (s := form_of(f).section)))


# --- agreement


@pytest.mark.parametrize(
    ("overrides", "key"),
    [
        (["strategy.first_entry=15:00"], "strategy.first_entry"),
        (["strategy.first_entry=09:00"], "strategy.first_entry"),
        (["strategy.last_entry=15:10"], "strategy.last_entry"),
        (["strategy.square_off=15:30"], "strategy.square_off"),
        (["strategy.capital=2999"], "strategy.capital_per_position"),
        (["risk.max_order_value=2999.99"], "risk.max_order_value"),
        (["market.feed=recorded"], "market.directory"),
        (["market.first_day=2016-09-09", "market.last_day=2016-09-08"], "market.first_day"),
        (["supervision.backoff_first_s=31"], "supervision.backoff_first_s"),
        (["accounts=[]"], "accounts"),
        (["charges=[]"], "charges"),
        (["accounts.0.user=nobody"], "accounts.0.user"),
        (["accounts.1={id='main', user='owner'}"], "accounts.1.id"),
        (["accounts.1={id='two', user='owner', tag='01'}"], "accounts.1.tag"),
        (["users.1.name=owner"], "users.1.name"),
        (
            ["calendar.special_sessions=[{date='2026-11-08', open='19:00', close='18:00'}]"],
            "calendar.special_sessions.0.open",
        ),
        (
            ["calendar.special_sessions=[{date='2026-11-08', open='18:10', close='19:00'}]"],
            "calendar.special_sessions.0.open",
        ),
    ],
)
def test_settings_that_contradict_each_other_are_refused(overrides: list[str], key: str) -> None:
    assert [problem.key for problem in problems(None, *overrides)] == [key]


def test_schedules_of_charges_must_be_in_order() -> None:
    later = {f"charges.1.{key}": value for key, value in in_file_terms(Settings().charges[0]).items()}
    with pytest.raises(SettingsError, match=r"charges\.1\.effective_from"):
        load(implied=later)
    settings = load(implied=later | {"charges.1.effective_from": "2027-04-01"})
    assert [schedule.effective_from.year for schedule in settings.charges] == [2026, 2027]


# --- all at once


def test_all_problems_come_at_once_each_with_file_key_value_and_remedy(tmp_path: Path) -> None:
    file = write(
        tmp_path,
        """
        broker = "paper"
        [strategy]
        capital = "plenty"
        last_entry = "08:00"
        [strategy.p1]
        stop = 3
        [[accounts]]
        id = "one"
        """,
    )
    found = {problem.key: problem for problem in problems(file, "health.stale_feed_s=0")}
    assert found.keys() == {
        "broker",
        "strategy.capital",
        "strategy.first_entry",
        "strategy.p1.stop",
        "accounts.0.user",
        "health.stale_feed_s",
    }
    assert found["strategy.capital"].value == '"plenty"'
    assert found["strategy.capital"].source == str(file)
    assert found["strategy.capital"].expected.startswith("rupees from 1")
    assert found["accounts.0.user"].value == "(missing)"
    assert found["health.stale_feed_s"].source == "--set health.stale_feed_s=0"


def test_a_key_with_a_dot_in_it_is_just_an_unknown_key(tmp_path: Path) -> None:
    (problem,) = problems(write(tmp_path, '[strategy]\n"a.b" = 3'))
    assert problem.key == "strategy.a.b"
    assert problem.value == "3"


@pytest.mark.parametrize("content", [b"strategy = [", b"a = 1\na = 2", b"\xff\xfe", b"a = " + b"9" * 5000])
def test_a_file_that_is_no_toml_is_one_problem_that_says_so(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "broken.toml"
    file.write_bytes(content)
    (problem,) = problems(file)
    assert problem.source == str(file)
    assert problem.expected == "valid TOML in UTF-8"


def test_a_file_named_but_absent_is_a_problem(tmp_path: Path) -> None:
    (problem,) = problems(tmp_path / "absent.toml")
    assert problem.expected == "a file that can be read"


def test_a_value_too_long_to_show_is_still_refused(tmp_path: Path) -> None:
    (problem,) = problems(write(tmp_path, f"[strategy]\ncapital = 0x{'f' * 9000}"))
    assert problem.value == "(too long to show)"


# --- overrides


def test_an_override_wins_over_the_file_and_a_later_one_over_an_earlier(tmp_path: Path) -> None:
    file = write(tmp_path, "[strategy]\nmax_positions = 5\nmin_rank_gm = 1")
    settings = load(file, ["strategy.max_positions=6", "strategy.max_positions=7"])
    assert settings.strategy.max_positions == 7
    assert settings.strategy.min_rank_gm == 1


def test_what_a_verb_implies_gives_way_to_what_the_user_sets() -> None:
    implied = {"market.feed": "recorded", "market.directory": "2016"}
    assert load(implied=implied).market.directory == Path("2016")
    assert load(None, ["market.directory=elsewhere"], implied=implied).market.directory == Path("elsewhere")


def test_overrides_reach_into_lists_and_add_to_them() -> None:
    settings = load(
        None,
        ["users.1.name=asha", "accounts.0.user=asha", "accounts.1.id=second", "accounts.1.user=owner"],
    )
    assert settings.users[1] == UserSettings(name="asha")
    assert settings.accounts == (
        AccountSettings(id="main", user="asha", tag="01"),
        AccountSettings(id="second", user="owner", tag="02"),
    )


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("5", 5),
        ("true", True),
        ('"5"', "5"),
        ("max", "max"),
        ("09:26", "09:26"),
        ("[1, 2]", [1, 2]),
        ("[1, 2", "[1, 2"),
        ("", ""),
        ("1\nother = 2", "1\nother = 2"),
    ],
)
def test_an_override_s_value_is_toml_or_a_bare_string(text: str, value: Any) -> None:
    assert parse_value(text) == value


@pytest.mark.parametrize("override", ["strategy.capital", "=3", ""])
def test_an_override_without_key_or_value_is_a_problem(override: str) -> None:
    assert only_problem(override).expected == "section.key=value"


# --- environment


def test_the_environment_fills_in_strings_and_whole_numbers(tmp_path: Path) -> None:
    file = write(
        tmp_path,
        """
        [storage]
        directory = "${HOME_OF_DATA}/alpha"
        [dashboard]
        port = "${PORT}"
        [[accounts]]
        id = "main"
        user = "${WHO}"
        [[users]]
        name = "${WHO}"
        """,
    )
    settings = load(file, environment={"HOME_OF_DATA": "/data", "PORT": "6060", "WHO": "asha"})
    assert settings.storage.directory == Path("/data/alpha")
    assert settings.dashboard.port == 6060
    assert settings.accounts[0].user == settings.users[0].name == "asha"


def test_a_variable_that_is_not_set_is_named(tmp_path: Path) -> None:
    file = write(tmp_path, '[storage]\ndirectory = "${ONE}/${TWO}"\n[market]\nspeed = "${ONE}"')
    found = problems(file, environment={"TWO": "2"})
    assert [problem.key for problem in found] == ["storage.directory", "market.speed"]
    assert all("no ONE" in problem.expected for problem in found)


# --- fuzzed

SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8)
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3)
)
KEYS = st.sampled_from(
    [
        *sorted(_dotted(Settings, "")),
        *(f.name for f in attrs.fields(Settings)),
        "accounts.0",
        "users.1.name",
        "a.b",
    ]
)


@given(st.dictionaries(KEYS, VALUES, max_size=4))
def test_whatever_is_set_gives_settings_or_named_problems(implied: dict[str, Any]) -> None:
    named: tuple[Problem, ...] | None = None
    try:
        settings = load(implied=implied, environment={})
    except SettingsError as error:
        named = error.problems
    assert settings if named is None else named
    assert all(problem.expected and problem.source for problem in named or ())


@given(st.sampled_from(sorted(_dotted(Settings, ""))))
def test_every_default_is_read_back_from_its_written_form(dotted: str) -> None:
    node: Any = in_file_terms(Settings())
    for key in dotted.split("."):
        node = node[0][key] if isinstance(node, list) else node[key]
    parts = dotted.split(".")
    reached = ".".join([parts[0], "0", *parts[1:]]) if parts[0] in ("accounts", "users", "charges") else dotted
    assert load(implied={reached: node}) == Settings()


def test_every_kind_of_value_occurs() -> None:
    def kinds(section: type) -> set[Kind]:
        own = {form_of(field).kind for field in attrs.fields(section)}
        inner = [form_of(field).section for field in attrs.fields(section)]
        return own.union(*(kinds(each) for each in inner if each))

    assert kinds(Settings) == set(Kind)
