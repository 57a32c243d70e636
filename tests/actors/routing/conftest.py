"""Routers alone on their stages, whose journals are closed again."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import trio

from tests.fakes.router_stage import RouterStage

StageMaker = Callable[..., Awaitable[RouterStage]]


@pytest.fixture
def made() -> Iterator[list[RouterStage]]:
    stages: list[RouterStage] = []
    yield stages
    for stage in stages:
        stage.journal.close()


@pytest.fixture
async def stage(made: list[RouterStage], nursery: trio.Nursery) -> RouterStage:
    """On the real paper exchange, connected, trading."""
    stage = RouterStage(nursery)
    made.append(stage)
    await stage.begin()
    return stage


@pytest.fixture
async def told(made: list[RouterStage], nursery: trio.Nursery) -> RouterStage:
    """With a broker that answers when it is told, connected, trading."""
    stage = RouterStage(nursery, told=True)
    made.append(stage)
    await stage.begin()
    return stage


@pytest.fixture
async def on_disk(made: list[RouterStage], nursery: trio.Nursery, tmp_path: Path) -> RouterStage:
    """On the real paper exchange, its journal in a file, so that the process may die."""
    stage = RouterStage(nursery, directory=tmp_path / "var")
    made.append(stage)
    await stage.begin()
    return stage


@pytest.fixture
def stage_of(made: list[RouterStage], nursery: trio.Nursery) -> StageMaker:
    """A stage of the test's own making."""

    async def make(**given: Any) -> RouterStage:
        stage = RouterStage(nursery, **given)
        made.append(stage)
        await stage.begin()
        return stage

    return make
