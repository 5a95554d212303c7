"""CPU per call of a hundred tasks, through the whole waiter, beside the floor, a loop by hand and the official SDK."""

from __future__ import annotations

import asyncio
import sys
from contextlib import AsyncExitStack, ExitStack
from statistics import median

from benchmarks.canned import Canned, canned_server
from benchmarks.figures import Figure, Goal, Line, Plot, Result, of, ratios
from benchmarks.peers import PEERS
from benchmarks.processes import Measured, answer_rounds

__all__ = ["measure"]

_GENERATIONS = 3
_ROUNDS = 8
_SECONDS = 0.15
_WARM_UP = 0.3

# Who is measured, over what, and what the tasks are in.
_COLUMNS = (
    ("floor", "http Processing"),
    ("ecs_waiter", "http Processing"),
    ("ecs_waiter, all settle", "http in the end Finished"),
    ("ecs_waiter, new and settle", "http Finished"),
    ("ecs_waiter, new and settle, by futures", "http Finished"),
    ("floor, paced", "http Processing"),
    ("ecs_waiter, paced", "http Processing"),
    ("loop by hand", "http Processing"),
    ("SDK", "http Processing"),
    ("floor", "https Processing"),
    ("ecs_waiter", "https Processing"),
    ("loop by hand", "https Processing"),
    ("SDK", "https Processing"),
    ("SDK, one CA", "https Processing"),
)

# What is divided by what, and the goal.
_RATIOS = (
    ("nothing changed: ecs_waiter / floor", 1, 0, Goal(at_most=1.1)),
    ("all settle: ecs_waiter / floor", 2, 0, Goal(at_most=2)),
    ("a wait for new tasks, all settle: ecs_waiter / floor", 3, 0, None),
    ("new futures, all settle: ecs_waiter / floor", 4, 0, None),
    ("nothing changed, a pause between calls: ecs_waiter / floor", 6, 5, None),
    ("nothing changed, https: ecs_waiter / floor", 10, 9, Goal(at_most=1.1)),
    ("http: loop by hand / ecs_waiter", 7, 1, None),
    ("http: SDK / ecs_waiter", 8, 1, Goal(at_least=3)),
    ("https: loop by hand / ecs_waiter", 11, 10, None),
    ("https: SDK / ecs_waiter", 12, 10, Goal(at_least=50)),
    ("https: SDK, given only that CA / ecs_waiter", 13, 10, None),
)


def measure() -> Result:
    """Run all peers in turn, round by round, each in a process of its own; and all of that with new processes again."""
    costs: list[list[float]] = [[] for _ in _COLUMNS]
    with canned_server() as server:
        for _ in range(_GENERATIONS):
            _generation(server, costs)
    figures: list[Figure] = [
        of(f"{peer}, {over}", "µs per call", spent) for (peer, over), spent in zip(_COLUMNS, costs, strict=True)
    ]
    figures += [of(what, "x", ratios(costs[one], costs[other]), goal) for what, one, other, goal in _RATIOS]
    dots = [
        Line(f"{peer}, {over.split()[0]}", [(median(spent), 1)], is_ours=peer.startswith("ecs_waiter"))
        for (peer, over), spent in zip(_COLUMNS, costs, strict=True)
        if "paced" not in peer
    ]
    plot = Plot("cpu", "CPU per call of 100 tasks", "microseconds of CPU per call", "", dots, is_dots=True)
    return Result(
        "What does one call of 100 tasks cost in the process that makes it?",
        figures,
        [plot],
        notes=[
            "User and system time of the whole process.",
            "The SDK opens a session and a connection for each call, and over https makes an SSL context too.",
        ],
    )


def _generation(server: Canned, costs: list[list[float]]) -> None:
    with ExitStack() as stack:
        processes = [
            stack.enter_context(Measured(__file__, peer, server.urls[over], environment=server.environment()))
            for peer, over in _COLUMNS
        ]
        for process in processes:
            process.round(_WARM_UP)
        for _ in range(_ROUNDS):
            for process, spent in zip(processes, costs, strict=True):
                spent.append(process.round(_SECONDS))


async def _serve_rounds(peer: str, url: str) -> None:
    async with AsyncExitStack() as stack:
        run = await PEERS[peer](url, stack)

        async def one_round(seconds: float) -> float:
            calls, spent = await run(seconds)
            return spent / calls * 1e6

        await answer_rounds(one_round)


if __name__ == "__main__":
    asyncio.run(_serve_rounds(*sys.argv[1:]))
