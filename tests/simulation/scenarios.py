"""Trouble that is arranged, so that what comes together once in a thousand seeds by chance comes together in many.

Only the kinds, times and places are given: what is under way there is drawn as ever.
"""

from pymigrate.engine.application.works import SHARED, affinity_of
from pymigrate.engine.domain.names import at_environment
from pymigrate.engine.entrypoints.loops.supervisor import host_names
from pymigrate.engine.testing.weather import HOST_TROUBLES, Spell, Trouble
from tests.simulation.engines import HOSTS_SHARED_MAX
from tests.simulation.plans import SOURCES, TARGETS, connections
from tests.simulation.witness import RUN


def _hosts(affinity: str) -> list[str]:
    names = host_names(at_environment(affinity, RUN), HOSTS_SHARED_MAX, HOSTS_SHARED_MAX)
    return [f"workerHosts/{name}" for name in names]


SHARED_HOSTS = _hosts(SHARED)
FILE_HOST = _hosts(affinity_of(connections()["cellar"]))[0]
LATE_HOST = SHARED_HOSTS[0]


def _everything_at(host: str) -> tuple[Spell, ...]:
    return tuple(Spell(kind, 3.0 * at, 8.0, host, 0.5) for at, kind in enumerate(sorted(HOST_TROUBLES)))


def _changes(*at_seconds: float) -> tuple[Spell, ...]:
    return tuple(Spell(Trouble.SOURCE_CHANGED, at, 1.0, source) for at in at_seconds for source in SOURCES)


# A host is stopped, likely amidst a commit. Whoever is given its lanes when their leases are over claims them, and then waits for a slow
# source: it has not committed yet when the first host goes on.
LATE_COMMITS = (
    Spell(Trouble.HOST_STOPPED, 6.5, 18.5, LATE_HOST),
    Spell(Trouble.SOURCE_SLOW, 18.5, 30.0),
)

# A host is stopped before it has prepared the staging of its first lanes. Sources change, so that runs fail and undo meanwhile what they
# have staged.
LATE_BEGINNINGS = (Spell(Trouble.HOST_STOPPED, 4.0, 25.0, LATE_HOST), *_changes(3.0, 5.0, 7.0))

# Some of what targets are asked is refused.
LOCKED_TARGETS = (Spell(Trouble.LOCK_CONFLICT, 0.0, 40.0, strength=0.15),)

# Some of what targets did is told to nobody.
LOST_COMMITS = (Spell(Trouble.COMMIT_UNKNOWN, 0.0, 40.0, strength=0.15),)

# Sources are changed again and again while they are read.
CHANGING_SOURCES = _changes(*range(3, 24, 2))

# The same, and lanes have to be continued.
CHANGES_AMID_CRASHES = (*CHANGING_SOURCES, Spell(Trouble.HOST_CRASH, 8.0, 1.0), Spell(Trouble.HOST_CRASH, 14.0, 1.0))

# The password of a target expires while runs copy into it: they can neither publish there nor undo what they have begun, and people
# cancel some of them in between.
EXPIRED_SECRETS = (Spell(Trouble.SECRET_EXPIRED, 8.0, 32.0, TARGETS[0]),)

SCENARIOS = {
    "everything at a shared host": _everything_at(LATE_HOST),
    "everything at the host of a file": _everything_at(FILE_HOST),
    "late commits": LATE_COMMITS,
    "late beginnings": LATE_BEGINNINGS,
    "locked targets": LOCKED_TARGETS,
    "lost commits": LOST_COMMITS,
    "changing sources": CHANGING_SOURCES,
    "changes amid crashes": CHANGES_AMID_CRASHES,
    "expired secrets": EXPIRED_SECRETS,
}
