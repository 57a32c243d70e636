"""Hypothesis for this folder: the same examples in every run, none kept on disk, no wall-clock deadline."""

from __future__ import annotations

from hypothesis import settings

settings.register_profile("repeatable", derandomize=True, database=None, deadline=None)
settings.load_profile("repeatable")
