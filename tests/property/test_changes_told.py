"""What is told of two messages is exactly how they differ: nothing where they are the same, and every place where they are not."""

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from pymigrate.engine.application.gitops.changes_told import field_changes
from pymigrate.engine.application.overlaying import clear, put
from pymigrate.v1 import plan_pb2
from pymigrate.v1.shape import from_data

dataset = st.fixed_dictionaries(
    {"source": st.fixed_dictionaries({"connection": st.sampled_from(["a", "b"])})},
    optional={
        "key": st.lists(st.sampled_from(["id", "no"]), max_size=2),
        "lanes": st.integers(1, 3),
        "verification": st.sampled_from(["count", "full"]),
    },
)
phases = st.fixed_dictionaries(
    {"department": st.sampled_from(["sales", "hr"])},
    optional={
        "labels": st.dictionaries(st.sampled_from(["team", "team.name"]), st.sampled_from(["x", "y"])),
        "datasets": st.dictionaries(st.sampled_from(["orders", "lines"]), dataset),
        "priority": st.integers(1, 2),
        "downtimePolicy": st.sampled_from(["offline", "read_only"]),
    },
)


def message(data: dict[str, Any]) -> plan_pb2.Phase:
    made = plan_pb2.Phase()
    from_data(data, made)
    return made


@given(before=phases, after=phases)
def test_putting_in_what_is_told_makes_one_message_the_other(before: dict[str, Any], after: dict[str, Any]) -> None:
    old, new = message(before), message(after)
    told = list(field_changes(old, new))
    assert bool(told) == (old != new)
    assert len({each.path for each in told}) == len(told)
    back = {each.path: (each.after, each.before) for each in field_changes(new, old)}
    assert back == {each.path: (each.before, each.after) for each in told}
    for each in told:
        assert each.before != each.after
        if each.after:
            value = json.loads(each.after)
            text = value if isinstance(value, str) else json.dumps(value)
            put(old, each.path, text, lambda name, path: _nothing(name))
    for each in told:
        if not each.after:
            clear(old, each.path)
    assert old == new


def _nothing(name: str) -> Any:
    raise AssertionError(name)
