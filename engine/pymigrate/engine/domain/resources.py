"""What a run needs of hosts, systems, storage and network.

Connections: each lane holds one on its source and one on its target. On a PostgreSQL source that is read decoded it holds two, since rows
are decoded in a session of their own. One more is counted on each side for a verification beside the lanes. Memory: a lane holds two
chunks, that which it reads and that which it writes, within what the hosts have. Network: what is read, what is written, and what the
verification reads back.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from pymigrate.engine.domain.sampling import SAMPLED_BYTES_MAX, SAMPLED_SHARE

NOT_KNOWN = -1
CHUNKS_HELD = 2


class ReadBack(StrEnum):
    """What a verification reads back."""

    NOTHING = "nothing"
    SAMPLE = "sample"
    EVERYTHING = "everything"


@dataclass(frozen=True, slots=True)
class Load:
    """What one dataset needs. `bytes` are read and `target_bytes` written, `kept_bytes` of what they replace stay until the phase is
    sealed; -1 where not known. `source_sessions` are those of one lane on its source."""

    source: str
    target: str
    lanes: int
    chunk_bytes: int
    bytes: int = NOT_KNOWN
    target_bytes: int = NOT_KNOWN
    kept_bytes: int = 0
    source_sessions: int = 1
    read_back: ReadBack = ReadBack.SAMPLE


@dataclass(frozen=True, slots=True)
class Resources:
    """The most lanes at once, the most connections by connection, and bytes of memory, staging, storage and network; -1 where not
    known."""

    lanes_peak: int = 0
    connections_peak: Mapping[str, int] = field(default_factory=dict)
    memory_bytes: int = 0
    staging_bytes: int = 0
    storage_bytes: int = 0
    network_bytes: int = 0


def resources_of(
    loads: Sequence[Load], lanes_peak: int, connection_lanes_peak: Mapping[str, int], memory_bytes_max: int
) -> Resources:
    """What datasets need of which at most `lanes_peak` lanes run at once, and so many of a connection as `connection_lanes_peak` says;
    of a connection that is not named, as many as its datasets have."""
    staging = _sum(load.target_bytes for load in loads)
    kept = _sum(load.kept_bytes for load in loads)
    chunk_bytes = max((load.chunk_bytes for load in loads), default=0)
    return Resources(
        lanes_peak=lanes_peak,
        connections_peak={
            name: _connections(name, loads, lanes_peak, connection_lanes_peak)
            for name in sorted({load.source for load in loads} | {load.target for load in loads})
        },
        memory_bytes=min(memory_bytes_max, lanes_peak * chunk_bytes * CHUNKS_HELD),
        staging_bytes=staging,
        storage_bytes=_sum((staging, kept)),
        network_bytes=_sum(_network_bytes(load) for load in loads),
    )


def _connections(name: str, loads: Iterable[Load], lanes_peak: int, connection_lanes_peak: Mapping[str, int]) -> int:
    own = [load for load in loads if name in (load.source, load.target)]
    lanes = min(lanes_peak, connection_lanes_peak.get(name, sum(load.lanes for load in own)))
    sessions = max(_sessions(name, load) for load in own)
    is_verified = any(load.read_back is not ReadBack.NOTHING for load in own)
    return lanes * sessions + is_verified


def _sessions(name: str, load: Load) -> int:
    """The sessions of one lane; of one that copies within a system, those of both sides."""
    return (load.source_sessions if name == load.source else 0) + (1 if name == load.target else 0)


def _network_bytes(load: Load) -> int:
    both = _sum((load.bytes, load.target_bytes))
    if both == NOT_KNOWN or load.read_back is ReadBack.NOTHING:
        return both
    if load.read_back is ReadBack.EVERYTHING:
        return 2 * both
    if load.bytes <= SAMPLED_BYTES_MAX:
        return both + load.target_bytes
    return both + both // SAMPLED_SHARE


def _sum(figures: Iterable[int]) -> int:
    found = list(figures)
    return NOT_KNOWN if NOT_KNOWN in found else sum(found)
