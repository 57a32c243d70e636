"""Trouble strikes when and as often as it was told to, the same for the same seed, and never by itself."""

from __future__ import annotations

import pytest

from simulation.trouble import CHANCES, SPANS, Trouble, TroubleError


def test_nothing_goes_wrong_by_itself() -> None:
    trouble = Trouble()
    assert not any(trouble.happens(name) for name in CHANCES for _ in range(20))
    assert trouble.drawn_s("delay_ms") == 0
    assert trouble.happened == {}


def test_the_same_seed_brings_the_same_trouble() -> None:
    def day(seed: str) -> list[bool]:
        trouble = Trouble(seed)
        trouble.set({"drop_update": 0.5})
        return [trouble.happens("drop_update") for _ in range(50)]

    assert day("7") == day("7")
    assert day("7") != day("8")


def test_one_switch_changes_nothing_for_another() -> None:
    alone, beside = Trouble("7"), Trouble("7")
    alone.set({"drop_update": 0.5})
    beside.set({"drop_update": 0.5, "garbage": 0.5})
    together = []
    for _ in range(50):
        beside.happens("garbage")
        together.append(beside.happens("drop_update"))
    assert together == [alone.happens("drop_update") for _ in range(50)]


def test_trouble_ends_after_so_many_times() -> None:
    trouble = Trouble()
    trouble.set({"lose_answer": {"chance": 1, "times": 2}})
    assert [trouble.happens("lose_answer") for _ in range(4)] == [True, True, False, False]
    assert trouble.happened == {"lose_answer": 2}


def test_trouble_keeps_to_the_kinds_it_was_meant_for() -> None:
    trouble = Trouble()
    trouble.set({"reject": {"only": ["PLACE_ORDER"], "times": 1}})
    assert not trouble.happens("reject", "CANCEL_ORDER")
    assert trouble.happens("reject", "PLACE_ORDER")
    assert not trouble.happens("reject", "PLACE_ORDER")


def test_settings_add_up_until_they_are_cleared() -> None:
    trouble = Trouble("3")
    trouble.set({"garbage": True, "delay_ms": 20})
    trouble.set({"half_open": 0.25})
    assert trouble.as_json() == {
        "seed": "3",
        "on": {
            "garbage": {"chance": 1.0, "times": None, "only": []},
            "half_open": {"chance": 0.25, "times": None, "only": []},
        },
        "delay_ms": 20,
        "slow_read_ms": 0,
        "late_fill_ms": 500,
        "happened": {},
    }
    assert 0 <= trouble.drawn_s("delay_ms") <= 0.02
    trouble.clear()
    assert trouble.as_json()["on"] == {}
    assert trouble.span_s("delay_ms") == 0


def test_a_switch_set_to_zero_is_off() -> None:
    trouble = Trouble()
    trouble.set({"garbage": 1})
    trouble.set({"garbage": 0})
    assert not trouble.happens("garbage")


@pytest.mark.parametrize(
    "wrong",
    [
        {"earthquake": 1},
        {"reject": 1.5},
        {"reject": -1},
        {"reject": "often"},
        {"reject": None},
        {"reject": {"chance": 2}},
        {"reject": {"often": 1}},
        {"reject": {"times": -1}},
        {"reject": {"times": True}},
        {"reject": {"only": "PLACE_ORDER"}},
        {"reject": {"only": [1]}},
        {"delay_ms": 1.5},
        {"delay_ms": -1},
        {"delay_ms": True},
    ],
)
def test_wrong_settings_change_nothing_and_name_the_switch(wrong: dict[str, object]) -> None:
    trouble = Trouble()
    (name,) = wrong
    with pytest.raises(TroubleError, match=name):
        trouble.set({"garbage": 1, **wrong})
    assert trouble.as_json()["on"] == {}


def test_every_mistake_is_named_at_once() -> None:
    with pytest.raises(TroubleError, match="reject") as caught:
        Trouble().set({"reject": 2, "delay_ms": "long"})
    assert "delay_ms" in str(caught.value)


def test_asking_for_trouble_that_does_not_exist_is_our_own_mistake() -> None:
    with pytest.raises(AssertionError, match="earthquake"):
        Trouble().happens("earthquake")
    assert not set(CHANCES) & set(SPANS)
