"""The process for rendering when it is killed, stuck, or can't be started: one text fails, and the others are made all the same."""

import asyncio
import os
import signal
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from pymigrate.engine.adapters.pipes import given_of
from pymigrate.engine.adapters.rendering.answering import READY
from pymigrate.engine.adapters.rendering.process import BATCH_MAX, COMMAND, TemplateProcess
from pymigrate.engine.ports.rendering import RenderedText, RenderRequest, TemplateSource

FRAGILE = Path(__file__).with_name("fragile.py")
SHORT_SECONDS = 0.5
Made = Callable[..., TemplateProcess]


@pytest.fixture
def fragile(tmp_path: Path) -> Made:
    def make(*arguments: str, answer_seconds_max: float = 60.0) -> TemplateProcess:
        command = (sys.executable, str(FRAGILE), str(tmp_path / "mark"), *arguments)
        return TemplateProcess(command, answer_seconds_max)

    return make


async def _render(process: TemplateProcess, *subjects: str) -> Sequence[RenderedText]:
    try:
        return await process.render([RenderRequest(TemplateSource(subject, "b"), {}) for subject in subjects])
    finally:
        await process.close()


def _told_by_the_machine(process: TemplateProcess, what: str) -> str:
    return Path(f"/proc/{process.pid}/{what}").read_text()


async def test_a_text_that_kills_the_process_twice_fails_and_the_others_are_made(fragile: Made) -> None:
    found = await _render(fragile(), "a", "die", "b", "die", "c")
    assert [text.subject for text in found] == ["a", "", "b", "", "c"]
    assert [text.problem for text in found if not text.subject] == [
        "body: could not be made: its process has ended"
    ] * 2


async def test_a_text_during_which_the_process_died_once_is_made_in_the_next(fragile: Made) -> None:
    found = await _render(fragile(), "a", "die once", "b")
    assert [text.subject for text in found] == ["a", "die once", "b"]


async def test_a_text_that_hangs_the_process_is_ended_and_the_others_are_made(fragile: Made) -> None:
    found = await _render(fragile(answer_seconds_max=SHORT_SECONDS), "a", "hang", "b")
    assert [text.subject for text in found] == ["a", "", "b"]
    assert found[1].problem == "body: could not be made: it took longer than 0.5 s"


async def test_a_process_that_does_not_start_is_started_twice_for_all_and_leaves_a_problem(
    fragile: Made, tmp_path: Path
) -> None:
    found = await _render(fragile("unable"), "a", "b", "c")
    told = "body: could not be made: its process did not start: its process has ended"
    assert [text.problem for text in found] == [told] * 3
    assert len((tmp_path / "mark").read_text()) == 2


async def test_a_program_that_says_something_else_is_not_asked() -> None:
    (found,) = await _render(TemplateProcess((sys.executable, "-c", "print('hello')")), "a")
    assert found.problem == "body: could not be made: its process did not start: it is another program"


async def test_the_process_ends_with_what_it_is_asked() -> None:
    process = await asyncio.create_subprocess_exec(
        *COMMAND, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE
    )
    said, _ = await process.communicate(b"")
    assert (said, process.returncode) == (READY, 0)


async def test_a_program_that_is_not_there_leaves_a_problem() -> None:
    (found,) = await _render(TemplateProcess(("/nowhere/python",)), "a")
    assert found.problem == "body: could not be made: its process can't be started: No such file or directory"


async def test_a_process_that_was_killed_in_between_is_replaced(fragile: Made) -> None:
    process = fragile()
    await process.render([RenderRequest(TemplateSource("a", "b"), {})])
    pid = process.pid
    os.kill(pid, signal.SIGKILL)
    (found,) = await process.render([RenderRequest(TemplateSource("a", "b"), {})])
    assert found.subject == "a"
    assert process.pid not in (0, pid)
    await process.close()
    assert process.pid == 0


async def test_who_gives_up_waiting_leaves_nobody_anothers_answers(fragile: Made) -> None:
    process = fragile()
    await process.render([RenderRequest(TemplateSource("warm", "b"), {})])
    waiting = asyncio.create_task(process.render([RenderRequest(TemplateSource("theirs", "b"), {})]))
    await asyncio.sleep(0)  # it is asked, and not answered yet
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert [text.subject for text in await _render(process, "mine")] == ["mine"]


async def test_calls_at_once_get_their_own_answers(fragile: Made) -> None:
    process = fragile()
    batches = [[f"{caller}-{place}" for place in range(BATCH_MAX + 3)] for caller in range(3)]
    found = await asyncio.gather(
        *(
            process.render([RenderRequest(TemplateSource("{{ name }}", "b"), {"name": name}) for name in names])
            for names in batches
        )
    )
    assert [[text.subject for text in texts] for texts in found] == batches
    await process.close()


async def test_what_several_are_told_is_said_once_and_told_to_each() -> None:
    process = TemplateProcess()
    shared = {"type": "run.failed"}
    source = TemplateSource("{{ event.type }} {{ recipient.name }}", "b")
    requests = [RenderRequest(source, {"event": shared, "recipient": {"name": f"r{at}"}}) for at in range(5)]
    found = await process.render(requests)
    assert [text.subject for text in found] == [f"run.failed r{at}" for at in range(5)]
    await process.close()


async def test_nothing_of_the_engines_environment_is_given(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WAREHOUSE_PASSWORD", "hidden")
    process = TemplateProcess()
    await process.render([RenderRequest(TemplateSource("a", "b"), {})])
    given = _told_by_the_machine(process, "environ").split("\0")
    assert {entry.partition("=")[0] for entry in given if entry} == given_of(os.environ).keys()
    await process.close()


async def test_the_process_has_only_so_much_memory() -> None:
    process = TemplateProcess()
    await process.render([RenderRequest(TemplateSource("a", "b"), {})])
    limits = _told_by_the_machine(process, "limits")
    assert "Max address space         512000000            512000000" in limits
    await process.close()
