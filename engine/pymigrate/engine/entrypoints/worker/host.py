"""The worker host: claims tasks and runs each on a thread of its own, keeps their leases alive, and drains when it is told to end.

The threads: one that claims, one that sends heartbeats, one that reports progress, and one for each task. Whatever a task raises
ends that task and nothing else.
"""

import threading
import time
from collections.abc import Callable

import structlog

from pymigrate.engine.domain.errors import EngineUnavailable
from pymigrate.engine.entrypoints.worker.engine import CallRefused
from pymigrate.engine.entrypoints.worker.leases import Lease, Leases
from pymigrate.engine.entrypoints.worker.runner import Runner
from pymigrate.engine.entrypoints.worker.session import GaveUp, Session
from pymigrate.engine.entrypoints.worker.task_spans import TaskSpans
from pymigrate.engine.transfer.signals import LeaseLost
from pymigrate.v1 import worker_pb2

log = structlog.get_logger(__name__)
WAIT_SECONDS_MAX = 10.0
REPORT_SECONDS = 0.2
TELL_TRIES_MAX = 20
EXIT_DRAINED = 0
EXIT_NO_ENGINE = 3


class Host:
    """A worker host. `load_runner` imports the data plane: it is called on the first task, or ahead of it by `preload`. `on_memory` is told
    the bytes that the host may hold, whenever the engine says so."""

    def __init__(
        self,
        session: Session,
        leases: Leases,
        ending: threading.Event,
        load_runner: Callable[[], Runner],
        drain_seconds: float,
        monotonic: Callable[[], float] = time.monotonic,
        on_memory: Callable[[int], None] = lambda _: None,
        spans: TaskSpans | None = None,
    ) -> None:
        self._session = session
        self._on_memory = on_memory
        self._spans = spans or TaskSpans()
        self._leases = leases
        self._ending = ending
        self._load_runner = load_runner
        self._drain_seconds = drain_seconds
        self._monotonic = monotonic
        self._runner: Runner | None = None
        self._loading = threading.Lock()
        self._gone = threading.Event()
        self._is_over = threading.Event()
        self._beat = threading.Event()
        self._report = threading.Event()

    def run(self) -> int:
        """Serves until `ending` is set or the engine is gone for good; returns the process's exit code. Blocks."""
        try:
            self._session.join()
            self._hear_memory(self._session.present()[1].memory_bytes_max)
        except GaveUp as error:
            self._give_up(error)
            return EXIT_DRAINED if self._ending.is_set() else EXIT_NO_ENGINE
        threads = [
            threading.Thread(target=self._guarded, args=(work,), name=name, daemon=True)
            for name, work in (("claims", self._claims), ("heartbeats", self._heartbeats), ("reports", self._reports))
        ]
        for thread in threads:
            thread.start()
        while not self._ending.wait(REPORT_SECONDS) and not self._gone.is_set():
            pass
        is_asked = self._ending.is_set()
        is_drained = self._drain()
        self._is_over.set()
        self._beat.set()
        self._report.set()
        self._session.close()
        for thread in threads:
            thread.join(timeout=1.0)
        if not is_asked:
            return EXIT_NO_ENGINE
        log.info("host.ended", host=self._session.host, is_drained=is_drained)
        return EXIT_DRAINED

    def preload(self) -> None:
        """Imports the data plane, so that the first task need not wait for it."""
        self._loaded()

    def has_tasks(self) -> bool:
        """Whether threads of tasks are still there; after `run` these are ones that hang, without a lease."""
        return bool(self._leases.all())

    # Threads -----------------------------------------------------------------------------------------------------------------------

    def _claims(self) -> None:
        while not self._ending.is_set() and not self._gone.is_set():
            link, terms = self._session.present()
            if not self._leases.wait_below(terms.tasks_max, REPORT_SECONDS):
                continue
            asked = self._monotonic()
            wait = min(WAIT_SECONDS_MAX, terms.lease_seconds / 2)
            request = worker_pb2.ClaimTaskRequest(host=self._session.host, session=terms.session, wait_seconds=wait)
            try:
                answer = link.claim(request)
            except (EngineUnavailable, CallRefused) as error:
                # The engine may have granted a task in an answer that was lost; joining again tells it what the host really has.
                self._rejoin(terms.session, error)
                continue
            self._session.heard()
            if answer.HasField("task"):
                self._start(answer.task, asked)

    def _heartbeats(self) -> None:
        while not self._is_over.is_set() and not self._gone.is_set():
            link, terms = self._session.present()
            self._beat.wait(terms.heartbeat_seconds * 0.8)
            self._beat.clear()
            held, asked = self._leases.held(), self._monotonic()
            request = worker_pb2.HeartbeatRequest(
                host=self._session.host, session=terms.session, leases=[lease.message for lease in held]
            )
            try:
                answer = link.heartbeat(request)
            except (EngineUnavailable, CallRefused) as error:
                if not self._is_over.is_set():
                    self._rejoin(terms.session, error)
                continue
            self._session.heard()
            self._session.hear_token(answer.token)
            self._hear_memory(answer.memory_bytes_max)
            lost, draining = set(answer.lost_task_ids), set(answer.drain_task_ids)
            rates = {rate.task_id: rate for rate in answer.rates}
            for lease in held:
                if lease.message.task_id in lost:
                    lease.lose()
                    continue
                lease.renew(asked, answer.credentials.get(lease.message.task_id, ""))
                lease.keep_to(rates.get(lease.message.task_id))
                if lease.message.task_id in draining:
                    lease.drain()

    def _reports(self) -> None:
        """Sends what is newest, at most five times a second for each lane."""
        while not self._is_over.is_set():
            self._report.wait()
            self._report.clear()
            for lease in self._leases.held():
                self._tell_progress(lease)
            self._is_over.wait(REPORT_SECONDS)

    def _run_task(self, task: worker_pb2.Task, lease: Lease) -> None:
        def on_progress(progress: worker_pb2.LaneProgress) -> None:
            lease.progress = progress
            self._report.set()

        is_told = False
        try:
            with self._spans.of(task) as span:
                log.info("task.started", task=task.id, fence=task.fence, kind=task.WhichOneof("work"))
                outcome = self._outcome(task, lease, span.heard(on_progress))
                span.ended(outcome)
            if outcome is not None:
                self._tell_progress(lease)
                is_told = self._tell_outcome(outcome, lease)
        finally:
            lease.lose()
            self._leases.remove(lease)
        if not is_told:
            # The engine may still count on the task: joining again tells it what the host really has.
            self._rejoin(self._session.present()[1].session)

    # Parts -------------------------------------------------------------------------------------------------------------------------

    def _start(self, task: worker_pb2.Task, asked: float) -> None:
        lease = Lease(task, asked, self._monotonic)
        self._leases.add(lease)
        if self._ending.is_set():
            lease.drain()
        threading.Thread(target=self._run_task, args=(task, lease), name=f"task-{task.id[-40:]}", daemon=True).start()
        # A claim may have waited for half a lease. Looks end long before one does, and come by the hundred.
        if task.WhichOneof("work") != "inspect":
            self._beat.set()

    def _outcome(
        self, task: worker_pb2.Task, lease: Lease, on_progress: Callable[[worker_pb2.LaneProgress], None]
    ) -> worker_pb2.FinishTaskRequest | None:
        """How the task ended; None when nobody waits for it any more."""
        try:
            runner = self._loaded()
        except Exception as error:
            log.exception("host.broken", host=self._session.host)
            self._give_up(GaveUp(f"the data plane can't be loaded: {type(error).__name__}: {error}"))
            return None
        try:
            outcome = runner.run(task, lease, on_progress)
        except LeaseLost as error:
            log.warning("task.lost", task=task.id, fence=task.fence, error=error.message)
            return None
        except Exception as error:
            log.exception("task.crashed", task=task.id, fence=task.fence)
            return worker_pb2.FinishTaskRequest(failure=runner.failure_of(error, task))
        how = outcome.WhichOneof("outcome")
        if how == "failure":
            log.warning("task.failed", task=task.id, reason=outcome.failure.reason, error=outcome.failure.message)
        else:
            log.info("task.ended", task=task.id, fence=task.fence, outcome=how)
        return outcome

    def _tell_progress(self, lease: Lease) -> None:
        with lease.reporting:
            progress, lease.progress = lease.progress, None
            if progress is None:
                return
            link, terms = self._session.present()
            request = worker_pb2.ReportProgressRequest(
                host=self._session.host, session=terms.session, lease=lease.message, progress=progress
            )
            try:
                link.report(request)
            except EngineUnavailable as error:
                # The next report, or the outcome, says it all; the heartbeat finds the engine again.
                log.info("report.lost", task=lease.message.task_id, error=error.message)
            except CallRefused as error:
                # Of another session, or of a task that was given away: the heartbeat tells which, before a lease runs out.
                log.warning("report.refused", task=lease.message.task_id, error=error.message)
                self._beat.set()

    def _tell_outcome(self, outcome: worker_pb2.FinishTaskRequest, lease: Lease) -> bool:
        """Until the engine knows it (True), or does not want to know it any more."""
        outcome.host = self._session.host
        for _ in range(TELL_TRIES_MAX):
            if lease.is_lost():
                log.warning("outcome.lost", task=lease.message.task_id)
                return False
            link, terms = self._session.present()
            outcome.session = terms.session
            outcome.lease.CopyFrom(lease.message)
            try:
                link.finish(outcome)
            except EngineUnavailable as error:
                log.info("outcome.unheard", task=lease.message.task_id, error=error.message)
                if not self._rejoin(terms.session):
                    return False
            except CallRefused as error:
                if self._session.present()[1].session == terms.session:
                    log.warning("outcome.refused", task=lease.message.task_id, error=error.message)
                    return False
            else:
                self._session.heard()
                return True
        return False

    def _rejoin(self, session: str, error: EngineUnavailable | CallRefused | None = None) -> bool:
        """Registers again. A refusal under the present session means that another process has this host's name."""
        if self._gone.is_set() or self._is_over.is_set():
            return False
        try:
            is_present = self._session.present()[1].session == session
            if isinstance(error, CallRefused) and is_present:
                raise GaveUp(error.message)
            self._session.join(session)
            self._hear_memory(self._session.present()[1].memory_bytes_max)
        except GaveUp as gone:
            self._give_up(gone)
            return False
        return True

    def _hear_memory(self, bytes_max: int) -> None:
        if bytes_max > 0:
            self._on_memory(bytes_max)

    def _give_up(self, error: GaveUp) -> None:
        if not self._gone.is_set():
            log.error("host.gave_up", host=self._session.host, error=str(error))
        self._gone.set()
        for lease in self._leases.all():
            lease.lose()

    def _guarded(self, work: Callable[[], None]) -> None:
        """A thread that the host can't do without: if it breaks, the host ends and another one is started."""
        try:
            work()
        except GaveUp as error:
            self._give_up(error)
        except Exception as error:
            log.exception("host.broken", host=self._session.host)
            self._give_up(GaveUp(f"a thread ended with {type(error).__name__}"))

    def _drain(self) -> bool:
        """Ends everything under way: at a checkpoint first, without committing when that takes too long."""
        deadline = self._monotonic() + self._drain_seconds
        while self._leases.all() and self._monotonic() < deadline and not self._gone.is_set():
            for lease in self._leases.all():
                lease.drain()
            self._leases.wait_below(1, REPORT_SECONDS)
        left = self._leases.all()
        for lease in left:
            lease.lose()
        self._leases.wait_below(1, 1.0)
        return not left

    def _loaded(self) -> Runner:
        with self._loading:
            if self._runner is None:
                self._runner = self._load_runner()
            return self._runner
