"""What may stand in a log line."""

from __future__ import annotations

import pytest

from commands.log_text import fields_of, one_event, redact


@pytest.mark.parametrize(
    ("text", "safe"),
    [
        ("api_key=abc access_token=def-1 rest", "api_key=*** access_token=*** rest"),
        ('{"api_key": "abc", "api_secret":"d e f", "x": 1}', '{"api_key": ***, "api_secret":***, "x": 1}'),
        (r"{\"access_token\": \"abc\"}", r"{\"access_token\": ***}"),
        ("Authorization: token key:secret\n", "Authorization: ***\n"),
        ("[(b'authorization', b'Bearer abc.def')]", "[(b'authorization', b***)]"),
        ("GET wss://ws.kite.trade?api_key=abc&access_token=def&x=1", "GET wss://ws.kite.trade?api_key=***&access_token=***&x=1"),
        ("KITE_API_SECRET='abc'", "KITE_API_SECRET=***"),
        ("X-Api-Key: abc", "X-Api-Key: ***"),
        ("enctoken=abc; path=/", "enctoken=***; path=/"),
        ("password: hunter2", "password: ***"),
    ],
)  # fmt: skip
def test_secrets_are_replaced_wherever_they_stand(text: str, safe: str) -> None:
    assert redact(text) == safe


def test_order_lines_are_left_as_they_are() -> None:
    line = "order_sent symbol=INFY rung=P1 side=BUY qty=2 last=151005 order=01AB key=INFY-1795407900:1:entry:1\n"
    assert redact(line * 3) == line * 3


def test_a_text_of_several_lines_stays_one_event() -> None:
    forged = "broker refused: no\n2026-11-23 10:15:03.000 order_router:main order_sent symbol=INFY"
    assert one_event(forged).split("\n")[1].startswith("    2026")


def test_a_traceback_keeps_its_shape() -> None:
    assert one_event("Traceback\n  File x\n    call()\n") == "Traceback\n      File x\n        call()"
    assert one_event("Traceback\n      File x\n        call()") == "Traceback\n      File x\n        call()"


def test_control_characters_cannot_reach_a_terminal() -> None:
    assert one_event("re\x1b[31md\r\x07") == r"re\x1b[31md\r\x07"


def test_fields_are_read_back_with_their_quotes_taken_off() -> None:
    text = "refused symbol=M&M rung=P1 reason='no capital: 2 left' message=\"it's over\" empty= last=5"
    assert fields_of(text) == {
        "symbol": "M&M",
        "rung": "P1",
        "reason": "no capital: 2 left",
        "message": "it's over",
        "empty": "",
        "last": "5",
    }
