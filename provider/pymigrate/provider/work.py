"""What a destruction meets: runs that are under way, and what they published that can still be undone. Told when planning."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import grpc

from pymigrate.provider.asking import PAGE_SIZE, PAGES_MAX
from pymigrate.provider.engine import Engine, is_missing, refuse
from pymigrate.provider.sdk.resource import Context
from pymigrate.provider.sdk.schema import Attribute
from pymigrate.v1 import run_pb2
from pymigrate.v1.shape import enum_word

ENDED = frozenset({"succeeded", "failed", "cancelled", "rolled_back", "rollback_blocked"})
TOLD_MAX = 3


def state_of(run: Any) -> str:
    """Where a run stands, in a word."""
    return enum_word(run_pb2.RunState.DESCRIPTOR, run.state)


def runs_below(engine: Engine, parent: str, attributes: Mapping[str, Attribute]) -> list[Any]:
    """All runs of a plan, or with `-` for it of an environment's plans. Raises Refused."""
    return list(_runs(engine, parent, attributes))


def warn_of_unfinished(context: Context, name: str, runs: Sequence[Any]) -> None:
    """Says which runs are in the way of a deletion of `name`."""
    found = [f"{run.name} is {state_of(run)}" for run in runs if state_of(run) not in ENDED]
    if found:
        context.warn(
            f"{name} is in use by work that is under way",
            f"{_some(found)}. A run that this configuration destroys too is cancelled before: its lanes drain, and its staging is "
            "dropped. Otherwise the deletion is refused: wait for the end, or run `pymigrate cancel` with the run's name.",
        )


def warn_of_published(context: Context, name: str, runs: Sequence[Any]) -> None:
    """Says what of a plan is published and neither sealed nor rolled back."""
    found = [
        f"{run.name} ({', '.join(phases)})"
        for run in runs
        if (phases := [key for key, each in sorted(run.phases.items()) if each.state == run_pb2.PHASE_STATE_PUBLISHED])
    ]
    if found:
        context.warn(
            f"{name} has published data that is neither sealed nor rolled back",
            f"{_some(found)}. It stays in its targets, and what it replaced is kept beside it. Before you destroy the plan, run "
            "`pymigrate rollback` with the run's name to undo it, or `pymigrate seal` to keep it for good.",
        )


def _runs(engine: Engine, parent: str, attributes: Mapping[str, Attribute]) -> Iterator[Any]:
    token = ""
    for _ in range(PAGES_MAX):
        request = run_pb2.ListRunsRequest(parent=parent, page_size=PAGE_SIZE, page_token=token)
        try:
            answer = engine.call("RunService", "ListRuns", request)
        except grpc.RpcError as error:
            if is_missing(error):
                return
            refuse(error, f"The runs of {parent} can't be read", attributes)
        yield from answer.runs
        token = answer.next_page_token
        if not token:
            return


def _some(found: Sequence[str]) -> str:
    more = f" and {len(found) - TOLD_MAX} more" if len(found) > TOLD_MAX else ""
    return ", ".join(found[:TOLD_MAX]) + more
