"""Client order ids that are never used twice, power loss included.

Owns their form: `PA` + account (2) + database id (4, drawn when a database is created, restored, reset or rebuilt)
+ start counter (4, raised and fsynced at each start) + sequence (8), base 36, 20 characters (orders.md).
"""

from __future__ import annotations

DIGITS = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ"
LENGTH = 20


def base36(number: int, width: int) -> str:
    """A number as `width` base-36 digits. Raises OverflowError when it needs more."""
    digits = []
    for _ in range(width):
        number, digit = divmod(number, 36)
        digits.append(DIGITS[digit])
    if number:
        raise OverflowError(f"{width} base-36 digits are not enough")
    return "".join(reversed(digits))


class ClientIds:
    """One account's ids in one run of the process. `count` goes on where the last incarnation stopped."""

    def __init__(self, tag: str, database_id: str, start_counter: int, count: int = 0) -> None:
        assert len(tag) == 2, tag
        assert len(database_id) == 4, database_id
        self._prefix = f"PA{tag}{database_id}{base36(start_counter, 4)}"
        self.count = count

    def next(self) -> str:
        self.count += 1
        client_id = self._prefix + base36(self.count, 8)
        assert len(client_id) == LENGTH, client_id
        return client_id


def is_ours(client_id: str | None, tag: str) -> bool:
    """Whether an id was made by this program for this account, by any of its databases."""
    return client_id is not None and len(client_id) == LENGTH and client_id.startswith(f"PA{tag}")


def database_of(client_id: str) -> str:
    """The id of the database that made an id of ours."""
    return client_id[4:8]
