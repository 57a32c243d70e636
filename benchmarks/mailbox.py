"""One mailbox with a real actor behind it, every message acknowledged, against a bare Trio memory channel.

`awaited`: the sender gives way after each message, so the reader waits for every one of them. `drained`: the
sender posts as much as fits and then waits until all of it is handled, as the ticker does with a frame.
"""

from __future__ import annotations

import time

import trio

from actors.actor import Actor, serve
from actors.mailbox import Address, InFlight
from benchmarks.runner import Figure, rate

NAME = "mailbox"
MESSAGES = 100_000
AT_ONCE = 250  # just below a mailbox's bound


class Reader(Actor):
    """Does nothing with a message: what is left is the mailbox."""

    async def handle(self, message: object) -> None:
        return None


async def bare() -> float:
    """Messages per second through a channel as large as a mailbox."""
    sender, receiver = trio.open_memory_channel[int](AT_ONCE)

    async def produce() -> None:
        async with sender:
            for number in range(MESSAGES):
                await sender.send(number)

    began = time.perf_counter()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(produce)
        async for _ in receiver:
            pass
    return MESSAGES / (time.perf_counter() - began)


async def acknowledged(at_once: int) -> float:
    """Messages per second through a mailbox; the sender gives way after each message, or waits after many."""
    in_flight = InFlight()
    address = Address("reader", in_flight=in_flight)
    async with trio.open_nursery() as nursery:
        await nursery.start(serve, Reader, address)
        began = time.perf_counter()
        for number in range(1, MESSAGES + 1):
            address.post(number)
            if at_once == 1:
                await trio.lowlevel.checkpoint()
            elif number % at_once == 0:
                await in_flight.settled()
        await in_flight.settled()
        seconds = time.perf_counter() - began
        nursery.cancel_scope.cancel()
    return MESSAGES / seconds


def run(rounds: int) -> list[Figure]:
    """Each side in turn, so that both meet the same noise; a ratio is one of neighbours."""
    channel, awaited, drained = [], [], []
    for _ in range(rounds):
        channel.append(trio.run(bare))
        awaited.append(trio.run(acknowledged, 1))
        drained.append(trio.run(acknowledged, AT_ONCE))
    figures = [rate("mailbox_bare_channel", channel, "msg/s", note="what the others are compared with")]
    for name, speeds, at_least in (("mailbox_awaited", awaited, 0.9), ("mailbox_drained", drained, 5)):
        ratios = [speed / base for speed, base in zip(speeds, channel, strict=True)]
        note = f"{sorted(speeds)[rounds // 2]:,.0f} msg/s"
        figures.append(rate(name, ratios, "× bare", at_least=at_least, note=note))
    return figures
