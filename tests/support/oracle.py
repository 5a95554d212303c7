"""The oracle: knows what each wait of a world must end with, and what may stand on the wire."""

from __future__ import annotations

import math
from collections import defaultdict
from typing import TYPE_CHECKING

from ecs_waiter import (
    ApiError,
    AuthenticationError,
    ServiceUnavailableError,
    Task,
    TaskCanceledError,
    TaskFailedError,
    TaskNotFoundError,
    wait_adaptive,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from support.playing import Ending, Story, Told
    from support.worlds import PlannedTask, Trouble, World

_TICK = 0.01
_REASON_WITHIN = 30.0
_LONGEST_BACKOFF = 20.0
_CANCELED = {"Deleted", "Canceled"}
_OUTAGES = {"status", "html", "reset", "truncate", "bad_gzip", "hang"}


def violations(story: Story) -> list[str]:
    """Everything that is not as promised."""
    found = [f"left over: {thing}" for thing in story.left_over]
    for ending in story.endings:
        found += [f"{ending.caller.way} at {ending.began:.1f}: {what}" for what in _of_ending(story, ending)]
    found += _of_wire(story)
    if story.world.pace.wait == "adaptive" and not story.world.troubles:
        found += _of_company(story)
    return found


def _of_ending(story: Story, ending: Ending) -> Iterator[str]:
    caller = ending.caller
    if ending.how in {"hangs", "odd"}:
        yield f"it {ending.how}: {ending.odd!r}"
        return
    if ending.how == "left":
        return
    for told in ending.told.values():
        yield from _of_outcome(story, ending, told)
    if caller.timeout is not None and ending.ended > (deadline := _deadline(story.world, ending)) + _TICK:
        yield f"it went on until {ending.ended:.1f}, past its deadline {deadline:.1f}"
    for task_id in ending.pending:
        task = next(task for task in caller.tasks if task.task_id == task_id)
        if ending.how == "timeout" and ending.ended > _told_by(story, ending, task):
            yield f"{task_id} is pending at {ending.ended:.1f}, though it ended at {task.ends_at:.1f}"
    if ending.how == "done" and not ending.pending and caller.way != "as_completed":
        missing = {task.task_id for task in caller.tasks} - ending.told.keys()
        if missing:
            yield f"nothing was told of {sorted(missing)[:3]}"


def _deadline(world: World, ending: Ending) -> float:
    """When a wait with a timeout has to end."""
    timeout = ending.caller.timeout or 0.0
    deadline = ending.began + timeout + (0.0 if timeout else world.pace.call_timeout)
    for gap in _gaps(world):
        # A deadline that passed in a gap has one last look.
        if gap.begins <= deadline:
            deadline = max(deadline, gap.ends + world.pace.call_timeout)
    return deadline


def _of_outcome(story: Story, ending: Ending, told: Told) -> Iterator[str]:
    if not _is_true(story, ending, told):
        yield f"{told.task.task_id} was told at {told.at:.1f} to be {told.outcome!r}, which is not so: {told.task}"
    if _is_told_at_once(ending, told.outcome):
        yield from _of_time(story, ending, told)


def _is_true(story: Story, ending: Ending, told: Told) -> bool:  # noqa: PLR0911 - a rule for each kind of outcome
    world, task, outcome = story.world, told.task, told.outcome
    match outcome:
        case Task():
            as_planned = outcome.task_status == task.outcome
            expected = as_planned if ending.caller.way == "updates" else as_planned and task.outcome == "Finished"
            return task.exists and expected and told.at >= task.at + task.duration - 1 - _TICK
        case TaskFailedError():
            return task.outcome == "Failed"
        case TaskCanceledError():
            return task.outcome in _CANCELED
        case TaskNotFoundError():
            return _may_be_missing(story, task, told.at)
        case AuthenticationError():
            return _troubled(world, task, {"refuse", "clock"}, told.at)
        case ServiceUnavailableError():
            return _is_out(world, task, told.at)
        case ApiError():
            return task.task_id in {trouble.settings.get("task_id") for trouble in world.troubles}
        case _:
            return False


def _of_time(story: Story, ending: Ending, told: Told) -> Iterator[str]:
    task_id = told.task.task_id
    given_up = _given_up_by(story.world, ending, told.task)
    if told.at > given_up:
        yield f"{task_id} was told at {told.at:.1f}, though the region should be given up by {given_up:.1f}"
    bound = _told_by(story, ending, told.task)
    if told.at > bound and not isinstance(told.outcome, ApiError | TaskNotFoundError):
        yield f"{task_id} was told at {told.at:.1f}, later than {bound:.1f}"


def _is_told_at_once(ending: Ending, outcome: object) -> bool:
    """Whether it was told when it came; some ways tell at their end."""
    if ending.caller.way == "updates":
        return isinstance(outcome, Task)
    # The error of a region that `as_completed` gives does not say for which task it stands.
    is_known = ending.caller.way == "submit" or (ending.caller.way == "as_completed" and hasattr(outcome, "task_id"))
    return is_known or len(ending.caller.tasks) == 1


def _told_by(story: Story, ending: Ending, task: PlannedTask) -> float:
    """The time by which the end of a task must be told, whatever went wrong meanwhile."""
    world = story.world
    pace = world.pace
    troubles = [
        trouble for trouble in world.troubles if trouble.region_id == task.region_id or trouble.kind == "suspend"
    ]
    ends = max(ending.began, task.ends_at)
    for trouble in sorted(troubles, key=lambda trouble: trouble.begins):
        if trouble.begins <= ends + pace.longest * 1.1 + 1:
            ends = max(ends, trouble.ends)
    backlog = 10 * (len(world.tasks) / 100 + 1) / pace.max_calls_per_second
    reason = _REASON_WITHIN if task.outcome == "Failed" else 0.0
    hunted = 40.0 * len(troubles)
    # After throttling the limiter recovers slowly.
    slowed = 64 / pace.max_calls_per_second * len(troubles)
    return ends + pace.longest * 1.1 + 1 + backlog + reason + hunted + slowed + _LONGEST_BACKOFF + 2 * pace.call_timeout


def _given_up_by(world: World, ending: Ending, task: PlannedTask) -> float:
    """The time by which an outage of more than the whole budget must have ended the wait."""
    pace = world.pace
    worst = pace.outage_budget + pace.longest * 1.1 + 2 * pace.call_timeout + 2 * _LONGEST_BACKOFF + _REASON_WITHIN
    worst += sum(gap.lasts for gap in _gaps(world))
    given_up = math.inf
    for trouble in _outages(world, task):
        by = max(trouble.begins, ending.began) + worst
        if trouble.ends > by and task.ends_at > trouble.begins:
            given_up = min(given_up, by)
    return given_up


def _outages(world: World, task: PlannedTask) -> list[Trouble]:
    """The troubles of a task's region in which it gives no good answer at all."""
    here = [trouble for trouble in world.troubles if trouble.region_id == task.region_id]
    # The answer came before the connection broke; of two troubles at once the first one strikes.
    answered = [trouble for trouble in here if trouble.settings.get("when") == "after"]
    return [
        trouble
        for trouble in here
        if trouble.kind in _OUTAGES
        and trouble.probability == 1
        and not any(other.begins < trouble.ends and trouble.begins < other.ends for other in answered)
    ]


def _may_be_missing(story: Story, task: PlannedTask, at: float) -> bool:
    began = min(ending.began for ending in story.endings if task in ending.caller.tasks)
    grace = story.world.pace.not_found_grace
    until = min(at, task.visible_at)
    # The clock of the grace stands still in a gap too, but for the part in which the waiter would have rested anyway.
    outages = [*_outages(story.world, task), *_gaps(story.world)]
    lost = 0.0
    reached = began
    for outage in sorted(outages, key=lambda outage: outage.begins):
        lost += max(0.0, min(outage.ends, until) - max(outage.begins, reached))
        reached = max(reached, outage.ends)
    # The clock of the grace stands still from the first fault that is met, which may come a poll after the outage.
    met_late = (story.world.pace.longest * 1.1 + 1) * len(outages)
    return until - began - max(0.0, lost - met_late) >= grace - _TICK or _troubled(
        story.world, task, {"drop", "cut_short"}, at
    )


def _gaps(world: World) -> list[Trouble]:
    """The times in which the process was suspended."""
    return [trouble for trouble in world.troubles if trouble.kind == "suspend"]


def _troubled(world: World, task: PlannedTask, kinds: set[str], at: float) -> bool:
    return any(
        trouble.kind in kinds and trouble.region_id == task.region_id and trouble.begins <= at + _TICK
        for trouble in world.troubles
    )


def _is_out(world: World, task: PlannedTask, at: float) -> bool:
    """Whether the region's troubles, together, may have lasted for the whole outage budget."""
    troubles = [
        trouble
        for trouble in world.troubles
        if trouble.region_id == task.region_id and trouble.begins <= at and trouble.kind != "suspend"
    ]
    return sum(trouble.lasts for trouble in troubles) >= world.pace.outage_budget - world.pace.call_timeout - _TICK


def _of_wire(story: Story) -> Iterator[str]:
    pace = story.world.pace
    by_region: dict[str, list[float]] = defaultdict(list)
    for sent in story.sent:
        by_region[sent.region_id].append(sent.at)
        if sent.under_way > pace.max_in_flight:
            yield f"{sent.under_way} calls of {sent.region_id} under way at {sent.at:.2f}"
        if sent.action != "DescribeTasks":
            continue
        ids = sent.query["TaskIds"].split(",")
        if len(ids) > 100 or ids != sorted(set(ids)) or sent.query["PageSize"] != str(len(ids)):
            yield f"an odd batch of {len(ids)} at {sent.at:.2f}: {sent.query}"
        if sent.unwanted:
            yield f"nobody waits for {sent.unwanted[:3]} at {sent.at:.2f}"
        if sent.twice:
            yield f"{sent.twice[:3]} are in two calls at {sent.at:.2f}"
    count = max(1, int(pace.max_calls_per_second))
    period = count / pace.max_calls_per_second
    for region_id, times in by_region.items():
        for first, last in zip(times, times[count:], strict=False):
            if last - first < period - _TICK:
                yield f"{count + 1} calls of {region_id} within {last - first:.3f} s at {first:.2f}"
                break


def _of_company(story: Story) -> Iterator[str]:
    """The rule of `wait_adaptive`, where no trouble holds calls back: the longest rest, the first look, the pace."""
    pace, rule = story.world.pace, wait_adaptive(max=story.world.pace.longest)
    held_back = (len(story.world.tasks) / 100 + 2) / pace.max_calls_per_second + _TICK
    closest = rule.min / math.ceil(len(story.world.tasks) / 100)
    visible = {task.task_id: task.visible_at if task.exists else math.inf for task in story.world.tasks}
    is_plain = all(ending.caller.timeout != 0 for ending in story.endings)
    last: dict[str, float] = {}
    called: dict[str, float] = {}
    for sent in story.sent:
        if sent.action != "DescribeTasks":
            continue
        ids = sent.query["TaskIds"].split(",")
        for task_id in ids:
            latest = max(_waits_since(story, task_id, sent.at) + rule.first, last.get(task_id, -math.inf) + rule.max)
            if sent.at > latest + held_back:
                yield f"{task_id} was not asked before {sent.at:.2f}, though it should be by {latest:.2f}"
        was_asked = all(
            last.get(task_id, -math.inf) > max(visible[task_id], _waits_since(story, task_id, sent.at))
            for task_id in ids
        )
        if is_plain and was_asked and sent.at - called.get(sent.region_id, -math.inf) < closest - _TICK:
            yield f"{sent.region_id} was asked again at {sent.at:.2f}, within {closest:.2f} s"
        called[sent.region_id] = sent.at
        last.update(dict.fromkeys(ids, sent.at))


def _waits_since(story: Story, task_id: str, at: float) -> float:
    """When somebody last began to wait for a task."""
    began = [
        ending.began
        for ending in story.endings
        if ending.began <= at and any(task.task_id == task_id for task in ending.caller.tasks)
    ]
    return max(began, default=-math.inf)
