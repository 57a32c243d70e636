"""Client order ids: never used twice, and known again as ours."""

from __future__ import annotations

import pytest

from actors.routing.client_ids import ClientIds, base36, database_of, is_ours


def test_an_id_names_program_account_database_start_and_number() -> None:
    assert ClientIds("01", "AB3Z", 37).next() == "PA01AB3Z001100000001"


def test_ids_go_on_where_the_last_incarnation_stopped() -> None:
    first = ClientIds("01", "AB3Z", 1)
    ids = [first.next() for _ in range(40)]
    second = ClientIds("01", "AB3Z", 1, first.count)
    ids += [second.next() for _ in range(40)]
    assert len(set(ids)) == 80
    assert ids == sorted(ids)


def test_another_start_or_another_database_never_gives_the_same_id() -> None:
    ids = {ClientIds("01", database, start).next() for database in ("AAAA", "AAAB") for start in (1, 2)}
    assert len(ids) == 4


def test_an_id_is_twenty_letters_and_digits_as_kite_takes_for_a_tag() -> None:
    client_id = ClientIds("ZZ", "0000", 36**4 - 1).next()
    assert len(client_id) == 20
    assert client_id.isalnum()
    assert client_id.isupper()


def test_a_number_that_does_not_fit_is_an_error_and_not_another_id() -> None:
    assert base36(36**4 - 1, 4) == "ZZZZ"
    with pytest.raises(OverflowError, match="4 base-36 digits are not enough"):
        base36(36**4, 4)


def test_ours_are_known_by_account_whatever_database_made_them() -> None:
    ours = "PA01AB3Z001100000001"
    assert is_ours(ours, "01")
    assert database_of(ours) == "AB3Z"
    assert not is_ours(ours, "02")
    assert not is_ours(None, "01")
    assert not is_ours("PA01", "01")
    assert not is_ours("MYOWNTAG", "01")
