"""A worker host that the engine has heard of, and the terms under which it is given work."""

from dataclasses import dataclass, field

from pymigrate.engine.domain.errors import InvalidDefinition, Problem
from pymigrate.engine.domain.names import is_id, matches
from pymigrate.engine.ports.hosts import HostRecord
from pymigrate.v1 import worker_pb2

MEMORY_BYTES_MAX = 4_000_000_000
HOST_BYTES_MIN = 400_000_000
# An absent one was started by an earlier engine and has not registered with this one yet.
HOST_STATES = ABSENT, WORKING, IDLE = "absent", "working", "idle"


@dataclass(frozen=True, slots=True)
class LeaseTerms:
    """How leases are granted: both in seconds; a host misses about three heartbeats before it loses its tasks. `memory_bytes_max` is what
    all hosts have together, `host_bytes_max` what one of them has at most; 0: what the others leave."""

    lease_seconds: float = 15.0
    heartbeat_seconds: float = 5.0
    tasks_max: int = 16
    memory_bytes_max: int = MEMORY_BYTES_MAX
    host_bytes_max: int = 0


@dataclass(slots=True)
class Host:
    """A host that this engine has heard of. `seen` is the clock's monotonic reading at its last call, `since` at its registration, 0 where
    that was with another engine. Until `rests_until` it looks through no runs for work, as there was none."""

    record: HostRecord
    seen: float
    is_registered: bool = False
    since: float = 0.0
    rests_until: float = 0.0
    tasks: set[str] = field(default_factory=set)

    @property
    def environment(self) -> str:
        """The id of the environment that it works for."""
        return self.record.affinity.rpartition("@")[2]

    @property
    def state(self) -> str:
        """What it has to do, of HOST_STATES."""
        if not self.is_registered:
            return ABSENT
        return WORKING if self.tasks else IDLE


def is_process(record: HostRecord, host: worker_pb2.WorkerHost) -> bool:
    """Whether it is the same process, and not another under its name."""
    known = (record.pid, record.pid_start_ticks, record.workload)
    return known == (host.pid, host.pid_start_ticks, host.workload)


def refuse_problems(host: worker_pb2.WorkerHost) -> None:
    """Raises InvalidDefinition for a host that does not say who it is."""
    problems = []
    if not matches(host.name, "workerHosts"):
        problems.append(Problem("host.name", "must be workerHosts/<host>"))
    own, _, environment = host.affinity.rpartition("@")
    if not own or not is_id(environment):
        problems.append(
            Problem(
                "host.affinity",
                "must be `shared@<environment>`, or that of one target: a host works for one environment",
            )
        )
    if problems:
        raise InvalidDefinition(tuple(problems))
