"""A run as it goes: a bar a lane in a terminal, plain lines otherwise, and a table at the end."""

import contextlib
import time
from collections.abc import Callable, Iterator

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn
from rich.table import Table

from pymigrate.engine.entrypoints.cli.client import Client
from pymigrate.engine.entrypoints.cli.notices import notices
from pymigrate.engine.entrypoints.cli.resuming import resumed
from pymigrate.v1 import run_pb2
from pymigrate.v1.shape import enum_word

LINE_INTERVAL_SECONDS = 1.0
MEGABYTE = 1e6
Tell = Callable[[run_pb2.WatchRunResponse], None]


def follow(client: Client, run: str, console: Console) -> run_pb2.Run:
    """Shows a run until it has ended; returns it as it ended. Survives an engine that is restarted meanwhile."""
    show = _bars if console.is_terminal else _lines
    with show(console) as tell:
        last = run_pb2.Run()
        told: dict[str, str] = {}
        for picture in _pictures(client, run):
            tell(picture)
            for about, text in notices(picture):
                if text and told.get(about) != text:
                    console.print(text, highlight=False, markup=False, soft_wrap=True)
                told[about] = text
            last = picture.run
    return last


def table(run: run_pb2.Run) -> Table:
    """Every dataset with its rows, checksums on both sides, duration and speed, and what its target guarantees."""
    state = enum_word(run_pb2.RunState.DESCRIPTOR, run.state)
    grid = Table(title=f"{run.name}: {state}", title_justify="left")
    grid.add_column("dataset")
    titles = (
        "state",
        "rows",
        "source checksum",
        "target checksum",
        "equal",
        "lanes' s",
        "MB/s a lane",
        "dangling",
        "quarantined",
        "delivery",
    )
    for title in titles:
        grid.add_column(title, justify="left" if "checksum" in title or title == "state" else "right")
    for phase_name, phase in sorted(run.phases.items()):
        for name, dataset in sorted(phase.datasets.items()):
            found = dataset.verification
            speed = dataset.bytes / MEGABYTE / dataset.copy_seconds if dataset.copy_seconds > 0 else 0.0
            dangling = ", ".join(f"{key}: {part.rows:,}" for key, part in sorted(found.dangling.items()) if part.rows)
            grid.add_row(
                name if name == phase_name else f"{phase_name}/{name}",
                enum_word(run_pb2.PhaseState.DESCRIPTOR, phase.state),
                f"{dataset.rows:,}",
                _digest(found.source_checksum or found.transfer_checksum),
                _digest(found.target_checksum),
                _equal(found),
                f"{dataset.copy_seconds:.2f}",
                f"{speed:.1f}",
                dangling or "none",
                f"{dataset.quarantined_rows:,}",
                enum_word(run_pb2.Delivery.DESCRIPTOR, dataset.delivery) if dataset.delivery else "-",
            )
    return grid


def _equal(found: run_pb2.Verification) -> str:
    """What was not compared yet is neither."""
    if found.is_verified:
        return "yes"
    return "no" if found.target_checksum else "-"


def _digest(checksum: str) -> str:
    return checksum.rpartition(":")[2] or "-"


def _pictures(client: Client, run: str) -> Iterator[run_pb2.WatchRunResponse]:
    def call(token: str) -> Iterator[run_pb2.WatchRunResponse]:
        request = run_pb2.WatchRunRequest(name=run, resume_token=token)
        return iter(client.runs.WatchRun(request, metadata=client.metadata))

    return resumed(client, call)


@contextlib.contextmanager
def _bars(console: Console) -> Iterator[Tell]:
    columns = (
        TextColumn("{task.description:<28}"),
        BarColumn(),
        TextColumn("{task.completed:>10,.0f} rows"),
        TextColumn("{task.fields[state]}"),
    )
    with Progress(*columns, console=console) as progress:
        bars: dict[str, TaskID] = {}

        def tell(picture: run_pb2.WatchRunResponse) -> None:
            for lane in picture.lanes:
                if lane.name not in bars:
                    bars[lane.name] = progress.add_task(lane.name.rpartition("/")[2], total=None, state="")
                total = lane.rows if lane.end_time.seconds else lane.rows_expected
                state = _state(picture, lane)
                progress.update(bars[lane.name], completed=lane.rows, total=total if total > 0 else None, state=state)

        yield tell


@contextlib.contextmanager
def _lines(console: Console) -> Iterator[Tell]:
    shown: dict[str, tuple[str, float]] = {}

    def tell(picture: run_pb2.WatchRunResponse) -> None:
        for lane in picture.lanes:
            state, now = _state(picture, lane), time.monotonic()
            before, when = shown.get(lane.name, ("", 0.0))
            if state != before or (state == "running" and now - when >= LINE_INTERVAL_SECONDS):
                shown[lane.name] = (state, now)
                console.print(f"{lane.name.rpartition('/')[2]}: {state}, {lane.rows:,} rows", highlight=False)

    yield tell


def _state(picture: run_pb2.WatchRunResponse, lane: run_pb2.Lane) -> str:
    """The lane's own state, and once it is done how far its phase is."""
    phase = picture.run.phases[lane.phase].state
    if lane.state == run_pb2.LANE_STATE_DONE and phase != run_pb2.PHASE_STATE_STAGING:
        return enum_word(run_pb2.PhaseState.DESCRIPTOR, phase)
    return enum_word(run_pb2.LaneState.DESCRIPTOR, lane.state)
