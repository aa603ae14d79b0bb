"""What a run needs of hosts, systems, storage and network."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pymigrate.engine.domain.resources import Load, ReadBack, resources_of

MEMORY = 4_000_000_000


def load(**changes: object) -> Load:
    """A dataset of 1 KB that becomes 2 KB, in lanes of chunks of 100 bytes."""
    found: dict[str, object] = {"source": "crm", "target": "warehouse", "lanes": 2, "chunk_bytes": 100}
    return Load(**(found | {"bytes": 1_000, "target_bytes": 2_000} | changes))  # type: ignore[arg-type]  # fields by name


def test_a_lane_takes_a_connection_on_each_side_and_a_verification_one_more() -> None:
    found = resources_of([load()], 2, {"crm": 2, "warehouse": 2}, MEMORY)
    assert found.connections_peak == {"crm": 3, "warehouse": 3}


def test_a_lane_that_decodes_in_a_session_of_its_own_takes_two_on_its_source() -> None:
    found = resources_of([load(source_sessions=2)], 2, {"crm": 2, "warehouse": 2}, MEMORY)
    assert found.connections_peak == {"crm": 5, "warehouse": 3}


def test_what_is_not_verified_takes_no_connection_for_that() -> None:
    found = resources_of([load(read_back=ReadBack.NOTHING)], 2, {"crm": 1, "warehouse": 2}, MEMORY)
    assert found.connections_peak == {"crm": 1, "warehouse": 2}


def test_a_lane_within_one_system_takes_both_connections_there() -> None:
    found = resources_of([load(target="crm", source_sessions=2)], 2, {"crm": 2}, MEMORY)
    assert found.connections_peak == {"crm": 7}


def test_of_a_connection_whose_lanes_are_not_known_there_are_as_many_as_its_datasets_have() -> None:
    assert resources_of([load(), load()], 3, {}, MEMORY).connections_peak["crm"] == 4
    assert resources_of([load(), load()], 50, {}, MEMORY).connections_peak["crm"] == 5


def test_each_lane_holds_two_chunks_within_the_memory_of_the_hosts() -> None:
    loads = [load(), load(chunk_bytes=1_000)]
    assert resources_of(loads, 5, {}, MEMORY).memory_bytes == 10_000
    assert resources_of(loads, 5, {}, 3_000).memory_bytes == 3_000


def test_storage_is_what_is_staged_and_what_is_kept_of_what_it_replaces() -> None:
    found = resources_of([load(kept_bytes=500), load()], 1, {}, MEMORY)
    assert (found.staging_bytes, found.storage_bytes) == (4_000, 4_500)


@pytest.mark.parametrize(
    ("read_back", "size", "network"),
    [
        (ReadBack.NOTHING, 1_000, 3_000),
        (ReadBack.SAMPLE, 1_000, 5_000),
        (ReadBack.SAMPLE, 699_998_000, 800_000_000),
        (ReadBack.EVERYTHING, 1_000, 6_000),
    ],
)
def test_what_is_read_written_and_read_back_passes_over_the_network(
    read_back: ReadBack, size: int, network: int
) -> None:
    assert resources_of([load(read_back=read_back, bytes=size)], 1, {}, MEMORY).network_bytes == network


def test_what_is_not_known_of_one_dataset_is_not_known_in_all() -> None:
    found = resources_of([load(), load(bytes=-1, target_bytes=-1)], 1, {}, MEMORY)
    assert (found.staging_bytes, found.storage_bytes, found.network_bytes) == (-1, -1, -1)
    kept = resources_of([load(), load(kept_bytes=-1)], 1, {}, MEMORY)
    assert (kept.staging_bytes, kept.storage_bytes) == (4_000, -1)


def test_nothing_needs_nothing() -> None:
    found = resources_of([], 0, {}, MEMORY)
    assert (found.memory_bytes, found.staging_bytes, found.connections_peak) == (0, 0, {})


@given(st.integers(1, 60), st.integers(1, 60))
def test_more_lanes_never_need_less(fewer: int, more: int) -> None:
    less, much = (resources_of([load(lanes=64)], lanes, {}, MEMORY) for lanes in sorted((fewer, more)))
    assert less.memory_bytes <= much.memory_bytes
    assert less.connections_peak["crm"] <= much.connections_peak["crm"]
