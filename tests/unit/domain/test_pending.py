"""What waits for a host, in order."""

import random
from datetime import timedelta

from pymigrate.engine.domain.happenings import Begun, Leased
from pymigrate.engine.domain.orchestration import RunCore
from pymigrate.engine.domain.pending import Pending, Queue, Urgency
from pymigrate.engine.domain.run_states import TaskKind
from pymigrate.engine.domain.usage import Usage
from tests.property.simulated_runs import PLAN, START, aggregate_of


def test_the_first_of_each_queue_is_told_in_order_whatever_comes_and_goes() -> None:
    rng, pending, expected = random.Random(1), Pending(), dict[Queue, list[Urgency]]()
    for number in range(2_000):
        kind = rng.choice([TaskKind.COPY, TaskKind.VERIFY, TaskKind.ROLLBACK])
        queue = (kind, rng.choice("abcde"), "", "")
        if rng.random() < 0.5 and queue in expected:
            pending.remove(queue, expected[queue].pop(rng.randrange(len(expected[queue]))))
            if not expected[queue]:
                del expected[queue]
        else:
            urgency = (kind is not TaskKind.ROLLBACK, -rng.randrange(3), -rng.random(), str(number))
            pending.add(queue, urgency)
            expected.setdefault(queue, []).append(urgency)
        heads = {key: min(waiting) for key, waiting in expected.items()}
        assert list(pending.heads(lanes=True)) == sorted(heads.values())
        others = sorted(head for key, head in heads.items() if key[0] is not TaskKind.COPY)
        assert list(pending.heads(lanes=False)) == others
        assert pending.has_undoing == any(not head[0] for head in heads.values())
        assert pending.all() == sorted(entry for waiting in expected.values() for entry in waiting)


def test_a_task_that_is_held_back_lets_the_next_of_its_queue_go_first() -> None:
    core = RunCore(aggregate_of({"a": (), "b": ()}, datasets=2), random.Random(1))
    core.apply(Begun(), START)
    tasks = {task.id.rpartition("/")[2]: task for task in core.pending()}
    core._hold_back(tasks["a.d0.copy.1"], START + timedelta(seconds=5))
    assert [task.lane for task in core.heads(START)] == ["a.d1", "b.d0"]
    assert core.next_wake(START) == START + timedelta(seconds=5)
    core._hold_back(tasks["a.d1.copy.1"], START + timedelta(seconds=3))
    assert [task.lane for task in core.heads(START)] == ["b.d0"]
    assert [task.lane for task in core.heads(START + timedelta(seconds=4))] == ["a.d1", "b.d0"]


def test_lanes_at_work_are_counted_by_what_limits_them() -> None:
    aggregate = aggregate_of({"a": (), "b": ()})
    aggregate.phases["a"].is_live = True
    core = RunCore(aggregate, random.Random(1))
    core.apply(Begun(), START)
    for task in core.pending():
        core.apply(Leased(task.id, "h", START), START)
    for counting in (core, RunCore(aggregate.copied(), random.Random(1))):  # the second finds them leased
        usage = Usage([counting])
        assert (usage.of_all(), usage.of_plan(PLAN), usage.of_environment("environments/e")) == (2, 2, 2)
        assert usage.of_department((PLAN, "sales")) == usage.of_connection(("environments/e", "source")) == 2
        assert usage.of_live(("environments/e", "source")) == 1
        assert usage.of_plan("environments/e/plans/other") == usage.of_connection(("environments/f", "source")) == 0


def test_a_twin_goes_on_alone_and_hands_nothing_over() -> None:
    core = RunCore(aggregate_of({"a": ()}), random.Random(1))
    core.apply(Begun(), START)
    core.take()
    twin = core.twin(random.Random(1))
    (task,) = twin.pending()
    assert twin.apply(Leased(task.id, "h", START), START)
    assert twin.take() == ([], [])
    assert [waiting.id for waiting in core.pending()] == [task.id]
    assert core.take() == ([], [])
