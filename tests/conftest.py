"""What all tests share: hypothesis plays the same examples every time and never judges how long one took."""

from __future__ import annotations

from hypothesis import settings

settings.register_profile("repeatable", derandomize=True, deadline=None, database=None)
settings.load_profile("repeatable")
