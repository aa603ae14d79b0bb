"""A host's standing with its engine: registered, and registered again with everything it has under way when the engine was away.

Whoever finds that a call failed asks to join again. One thread does it, the others wait for it.
"""

import random
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

import structlog

from pymigrate.engine.domain.errors import EngineUnavailable
from pymigrate.engine.entrypoints.engine_access import EngineAccess
from pymigrate.engine.entrypoints.worker.engine import CallRefused, EngineLink, NotRegistered, find_engine
from pymigrate.engine.entrypoints.worker.leases import Leases
from pymigrate.v1 import worker_pb2

log = structlog.get_logger(__name__)
LEASES_TO_TRY = 4
LEASE_SECONDS_FIRST = 15.0
BACKOFF_FIRST_SECONDS = 0.1
BACKOFF_MAX_SECONDS = 2.0


@dataclass(frozen=True, slots=True)
class Terms:
    """What a registration gave: the session's name, how often to call, how long a lease holds, how many tasks to run in how many bytes."""

    session: str
    heartbeat_seconds: float
    lease_seconds: float
    tasks_max: int
    memory_bytes_max: int = 0


class GaveUp(Exception):
    """The host has no engine any more: it was gone for too long, refuses it, or its home is gone."""


class Session:
    """The present registration. Safe on every thread."""

    def __init__(
        self,
        access: EngineAccess,
        host: worker_pb2.WorkerHost,
        leases: Leases,
        ending: threading.Event,
        monotonic: Callable[[], float] = time.monotonic,
        rng: random.Random | None = None,
        find: Callable[[EngineAccess], EngineLink] = find_engine,
    ) -> None:
        self._access = access
        self._host = host
        self._leases = leases
        self._ending = ending
        self._monotonic = monotonic
        self._rng = rng or random.Random()
        self._find = find
        self._joining = threading.Lock()
        self._link: EngineLink | None = None
        self._terms = Terms("", 0.0, LEASE_SECONDS_FIRST, 1)
        self._heard = monotonic()
        self._closed = threading.Event()

    @property
    def host(self) -> str:
        """The host's resource name."""
        return self._host.name

    def present(self) -> tuple[EngineLink, Terms]:
        """The link and what it was registered under. Only after a first `join`."""
        link, terms = self._link, self._terms
        if link is None:
            raise GaveUp("never registered")
        return link, terms

    def heard(self) -> None:
        """The engine has just answered."""
        self._heard = self._monotonic()

    def hear_token(self, token: str) -> None:
        """The engine has given another token to call by; empty: the one that it has goes on."""
        if token and self._link is not None:
            self._access = self._access.renewed(token)
            self._link.show(token)

    def join(self, failed: str = "") -> None:
        """Registers, with everything that is under way, unless that was done since the session `failed` was found not to work.

        Tries with growing pauses for four leases since the engine was last heard of. Raises GaveUp."""
        with self._joining:
            if self._link is not None and self._terms.session != failed:
                return
            deadline = self._heard + LEASES_TO_TRY * self._terms.lease_seconds
            attempt = 0
            while True:
                if not self._access.home.is_dir():
                    raise GaveUp(f"{self._access.home} is gone")
                try:
                    self._register()
                    return
                except EngineUnavailable as error:
                    if self._monotonic() >= deadline:
                        raise GaveUp(
                            f"no engine for {self._monotonic() - self._heard:.0f} s: {error.message}"
                        ) from error
                    log.info("engine.away", host=self.host, attempt=attempt, error=error.message)
                except CallRefused as error:
                    raise GaveUp(f"the engine refuses this host: {error.message}") from error
                self._pause(attempt)
                attempt += 1

    def close(self) -> None:
        """Ends the link; whoever tries to join gives up."""
        self._closed.set()
        if self._link is not None:
            self._link.close()

    def _register(self) -> None:
        link = self._find(self._access)
        try:
            self._refuse_heir(link)
            held, asked = self._leases.held(), self._monotonic()
            answer = link.register(
                worker_pb2.RegisterHostRequest(host=self._host, leases=[lease.message for lease in held])
            )
        except BaseException:
            link.close()
            raise
        lost = set(answer.lost_task_ids)
        for lease in held:
            if lease.message.task_id in lost:
                lease.lose()
            else:
                lease.renew(asked, answer.credentials.get(lease.message.task_id, ""))
        former, self._link = self._link, link
        self.hear_token(answer.token)
        self._terms = Terms(
            answer.session,
            answer.heartbeat_seconds,
            answer.lease_seconds,
            max(1, answer.tasks_max),
            answer.memory_bytes_max,
        )
        self.heard()
        if former is not None:
            former.close()
        log.info("host.joined", host=self.host, tasks=len(held), lost=len(lost))

    def _refuse_heir(self, link: EngineLink) -> None:
        """Raises CallRefused when another process has taken the name over: this one was stopped for long, and must not take it back."""
        if not self._terms.session:
            return
        held = self._leases.held()
        request = worker_pb2.HeartbeatRequest(
            host=self.host, session=self._terms.session, leases=[lease.message for lease in held]
        )
        try:
            draining = set(link.heartbeat(request).drain_task_ids)
        except NotRegistered:
            log.info("host.unknown", host=self.host)
            return
        for lease in held:
            if lease.message.task_id in draining:
                lease.drain()

    def _pause(self, attempt: int) -> None:
        seconds = min(BACKOFF_MAX_SECONDS, BACKOFF_FIRST_SECONDS * 2**attempt)
        is_closed = self._closed.wait(seconds * self._rng.uniform(0.5, 1.0))
        if is_closed or (self._ending.is_set() and not self._leases.held()):
            raise GaveUp("the host is to end, and there is no engine to tell")
