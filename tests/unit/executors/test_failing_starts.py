"""Hosts that end again and again before they work: told by affinity from the second time on, until one goes on."""

from pathlib import Path

from pymigrate.engine.adapters.executors.failing_starts import REASON, STEADY_SECONDS, FailingStarts


def told(starts: FailingStarts, now: float) -> dict[str, list[str]]:
    """What stands, as text."""
    found = starts.troubles(now, lambda host: Path("/home") / host)
    assert all(each.reason == REASON and each.is_temporary for failures in found.values() for each in failures)
    return {affinity: [each.message for each in failures] for affinity, failures in found.items()}


def failing(*lives: tuple[float, int], host: str = "h", affinity: str = "shared@e") -> tuple[FailingStarts, float]:
    """Processes of a host that lived so long and ended with such codes, one after the other; and the time by then."""
    starts, now = FailingStarts(), 0.0
    for seconds, code in lives:
        starts.begun(host, affinity, now)
        now += seconds
        starts.ended(host, code, now)
        starts.ended(host, code, now + 1)
    return starts, now


def test_one_end_is_no_trouble_and_two_in_a_row_are() -> None:
    starts, now = failing((1, 3))
    assert told(starts, now) == {}
    starts, now = failing((1, 3), (1, 4))
    assert told(starts, now) == {
        "shared@e": [
            "the worker host h ended 2 times in a row before it worked, the last time with exit code 4: /home/h tells why"
        ]
    }


def test_what_ended_well_or_after_a_while_is_no_trouble() -> None:
    for lives in ([(1, 0), (1, 0)], [(1, 3), (1, 0), (1, 3)], [(STEADY_SECONDS, 3)] * 3, [(1, 3), (STEADY_SECONDS, 3)]):
        starts, now = failing(*lives)
        assert told(starts, now) == {}


def test_the_next_try_takes_it_back_only_once_it_goes_on() -> None:
    starts, now = failing((1, 3), (1, 3))
    starts.begun("h", "shared@e", now)
    assert told(starts, now + STEADY_SECONDS - 1) != {}
    assert told(starts, now + STEADY_SECONDS) == {}


def test_hosts_are_told_apart() -> None:
    starts, now = failing((1, 3), (1, 3), host="one")
    for number in range(2):
        starts.begun("two", "file:/w@e", now + number)
        starts.ended("two", 9, now + number)
    starts.begun("three", "shared@e", now)
    starts.ended("three", 9, now)
    assert {affinity: len(texts) for affinity, texts in told(starts, now).items()} == {"shared@e": 1, "file:/w@e": 1}
