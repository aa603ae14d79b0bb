"""Questions to worker hosts: answered, refused, asked again when a host is lost, and never waited for without end."""

import asyncio

import pytest

from pymigrate.engine.application.inquiries import LOSSES_MAX, REPLACED_SECONDS_MAX, VAIN_SECONDS_MAX, Inquiries
from pymigrate.engine.domain.errors import EngineUnavailable, HostsUnavailable, NotFound, SystemUnavailable
from pymigrate.engine.domain.run import Failure
from pymigrate.v1 import connection_pb2, worker_pb2

Answer = asyncio.Task[worker_pb2.TaskResult]
QUOTA = Failure("QUOTA_EXCEEDED", "a quota is used up", is_temporary=True)
KILLED = Failure("OUT_OF_MEMORY", "pod h-1 was killed for its memory", is_temporary=True)
ANSWER = worker_pb2.TaskResult(test=connection_pb2.TestConnectionResponse(version="1"))


@pytest.fixture
def told() -> list[str]:
    """A line for each time that hosts were told of work."""
    return []


@pytest.fixture
def inquiries(told: list[str]) -> Inquiries:
    """Nothing asked yet."""
    return Inquiries(lambda: "q", lambda: told.append("work"))


async def asked(inquiries: Inquiries, timeout_seconds: float = 60.0) -> Answer:
    """A question on its way."""
    question = worker_pb2.Task(test=worker_pb2.TestWork())
    answer = asyncio.create_task(inquiries.ask(question, "shared", timeout_seconds))
    await asyncio.sleep(0)
    return answer


def given(inquiries: Inquiries, host: str = "h") -> worker_pb2.Task:
    """The question, given to a host."""
    waiting = inquiries.waiting("shared")
    assert waiting is not None
    return inquiries.lease(waiting, host, 15)


async def test_an_answer_reaches_whoever_asked(inquiries: Inquiries, told: list[str]) -> None:
    answer = await asked(inquiries)
    assert told == ["work"]
    assert inquiries.demand() == {"shared": 1}
    question = given(inquiries)
    assert inquiries.demand() == {}
    inquiries.finish(question.id, question.fence, ANSWER)
    assert await answer == ANSWER
    assert not inquiries.holds(question.id, question.fence)


async def test_whoever_asked_hears_when_a_host_takes_the_question(inquiries: Inquiries) -> None:
    heard: list[str] = []
    asking = inquiries.ask(worker_pb2.Task(test=worker_pb2.TestWork()), "shared", 60, lambda: heard.append("taken"))
    answer = asyncio.create_task(asking)
    await asyncio.sleep(0)
    assert heard == []
    question = given(inquiries)
    assert heard == ["taken"]
    inquiries.finish(question.id, question.fence, ANSWER)
    assert await answer == ANSWER


async def test_a_host_of_another_affinity_is_not_asked(inquiries: Inquiries) -> None:
    answer = await asked(inquiries)
    assert inquiries.waiting("file:/w") is None
    answer.cancel()


@pytest.mark.parametrize(
    ("failure", "error"),
    [
        (Failure("NOT_FOUND", "no such file"), NotFound),
        (Failure("SYSTEM_UNAVAILABLE", "away", is_temporary=True), SystemUnavailable),
    ],
)
async def test_what_a_host_found_wrong_is_raised_where_it_was_asked(
    inquiries: Inquiries, failure: Failure, error: type[Exception]
) -> None:
    answer = await asked(inquiries)
    question = given(inquiries)
    inquiries.finish(question.id, question.fence, failure)
    with pytest.raises(error, match=failure.message):
        await answer


async def test_nobody_waits_longer_than_was_said(inquiries: Inquiries) -> None:
    answer = await asked(inquiries, timeout_seconds=0)
    with pytest.raises(EngineUnavailable, match="no worker host answered"):
        await answer
    assert inquiries.waiting("shared") is None


async def test_who_waits_in_vain_is_told_why_no_host_comes(inquiries: Inquiries) -> None:
    inquiries.note_troubles({"shared": [QUOTA], "file:/w": []}, (), 0)
    answer = await asked(inquiries, timeout_seconds=0)
    with pytest.raises(HostsUnavailable, match="a quota is used up") as caught:
        await answer
    assert caught.value.reason == "QUOTA_EXCEEDED"


def is_given_up(inquiries: Inquiries, answer: Answer, at: float, *known: Failure, served: str = "") -> bool:
    """Whether the question is once these troubles stand at that time."""
    inquiries.note_troubles({"shared": known, "file:/w": [QUOTA]}, {served}, at)
    return not inquiries.demand()


async def test_a_question_that_no_host_comes_for_is_given_up_soon_with_the_reason(inquiries: Inquiries) -> None:
    answer = await asked(inquiries)
    assert not is_given_up(inquiries, answer, 100, QUOTA)
    assert not is_given_up(inquiries, answer, 99.9 + VAIN_SECONDS_MAX, QUOTA)
    assert is_given_up(inquiries, answer, 100 + VAIN_SECONDS_MAX, QUOTA)
    with pytest.raises(HostsUnavailable, match="no worker host comes: a quota is used up") as caught:
        await answer
    assert (caught.value.reason, caught.value.is_temporary) == ("QUOTA_EXCEEDED", True)
    assert caught.value.retry_after_seconds > 0


async def test_what_is_told_is_what_is_known_last(inquiries: Inquiries) -> None:
    answer = await asked(inquiries)
    assert not is_given_up(inquiries, answer, 0, Failure("NO_POD", "the Job has no pod yet", is_temporary=True))
    assert is_given_up(inquiries, answer, VAIN_SECONDS_MAX, KILLED, QUOTA)
    with pytest.raises(HostsUnavailable, match="a quota is used up"):
        await answer


async def test_troubles_from_before_a_question_give_it_its_time(inquiries: Inquiries) -> None:
    inquiries.note_troubles({"shared": [QUOTA]}, (), 0)
    answer = await asked(inquiries)
    assert not is_given_up(inquiries, answer, 2 * VAIN_SECONDS_MAX, QUOTA)
    answer.cancel()


async def test_troubles_that_went_meanwhile_do_not_count(inquiries: Inquiries) -> None:
    answer = await asked(inquiries)
    for at, known in ((0.0, (QUOTA,)), (4.0, ()), (6.0, (QUOTA,)), (6.0 + VAIN_SECONDS_MAX / 2, (QUOTA,))):
        assert not is_given_up(inquiries, answer, at, *known)
    answer.cancel()


async def test_a_question_waits_on_where_hosts_work_whatever_keeps_others_away(inquiries: Inquiries) -> None:
    answer = await asked(inquiries)
    for at in (0.0, VAIN_SECONDS_MAX):
        assert not is_given_up(inquiries, answer, at, QUOTA, served="shared")
    answer.cancel()


async def test_a_question_that_a_host_has_is_not_given_up(inquiries: Inquiries) -> None:
    answer = await asked(inquiries)
    question = given(inquiries)
    for at in (0.0, VAIN_SECONDS_MAX):
        inquiries.note_troubles({"shared": [QUOTA]}, (), at)
    inquiries.finish(question.id, question.fence, ANSWER)
    assert await answer == ANSWER


async def test_after_a_host_that_ended_another_one_has_time_to_come(inquiries: Inquiries) -> None:
    answer = await asked(inquiries)
    assert not is_given_up(inquiries, answer, 0, KILLED)
    assert not is_given_up(inquiries, answer, VAIN_SECONDS_MAX, KILLED)
    assert is_given_up(inquiries, answer, REPLACED_SECONDS_MAX, KILLED)
    with pytest.raises(HostsUnavailable, match="killed for its memory"):
        await answer


async def test_a_question_of_a_drained_host_is_given_to_another(inquiries: Inquiries, told: list[str]) -> None:
    answer = await asked(inquiries)
    first = given(inquiries)
    stale = first.fence
    inquiries.finish(first.id, stale, None)
    second = given(inquiries, "other")
    assert second.fence == stale + 1
    assert len(told) == 2
    inquiries.finish(second.id, stale, worker_pb2.TaskResult())
    assert not answer.done()
    inquiries.finish(second.id, second.fence, ANSWER)
    assert await answer == ANSWER


async def test_a_question_that_hosts_do_not_survive_is_given_up(inquiries: Inquiries) -> None:
    answer = await asked(inquiries)
    for _ in range(LOSSES_MAX + 1):
        given(inquiries)
        inquiries.lose("h")
    with pytest.raises(EngineUnavailable, match="every worker host"):
        await answer


async def test_only_the_questions_of_the_lost_host_are_asked_again(inquiries: Inquiries) -> None:
    answer = await asked(inquiries)
    question = given(inquiries)
    inquiries.lose("another")
    inquiries.lose("h", kept=[question.id])
    assert inquiries.holds(question.id, question.fence)
    assert inquiries.waiting("shared") is None
    inquiries.finish(question.id, question.fence, ANSWER)
    await answer


async def test_an_answer_to_nothing_is_dropped(inquiries: Inquiries) -> None:
    inquiries.finish("inquiries/gone", 1, ANSWER)
    assert inquiries.demand() == {}
