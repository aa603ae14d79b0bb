"""A lane's two systems, opened anew between two chunks when a secret of theirs has changed, where the lane can go on by itself."""

from collections.abc import Callable

import structlog

from pymigrate.engine.domain.errors import PyMigrateError
from pymigrate.engine.entrypoints.worker.credentials import Credentials
from pymigrate.engine.ports.connector import SystemSpec
from pymigrate.engine.ports.source import Continuing, Source

log = structlog.get_logger(__name__)


class _NotHandedOver(Exception):
    """The source that is open stays."""


class LaneAccess:
    """What a copy opens its systems through; see `Renewal`. `begin` is done to the first source, and `wrap` makes of
    each what the lane reads."""

    def __init__(
        self,
        source: Credentials,
        target: Credentials,
        open_raw: Callable[[SystemSpec], Source],
        begin: Callable[[Source], Source],
        wrap: Callable[[Callable[[], Source]], Callable[[], Source]],
    ) -> None:
        self._source = source
        self._target = target
        self._open_raw = open_raw
        self._begin = begin
        self._raw: Source | None = None
        self._is_handing_over = False
        self.open_source = wrap(self._opened)

    def is_target_due(self) -> bool:
        """See Renewal."""
        return self._target.is_stale()

    def is_source_due(self) -> bool:
        """See Renewal."""
        if not self._source.is_stale():
            return False
        if self._continuing() is None:
            self._keep("its snapshot can't be handed on")
            return False
        return True

    def open_heir(self) -> Source | None:
        """See Renewal."""
        self._is_handing_over = True
        try:
            return self.open_source()
        except _NotHandedOver:
            self._keep("its snapshot can't be handed on")
        except PyMigrateError as error:
            self._keep(error.message)
        finally:
            self._is_handing_over = False
        return None

    def doubt_source(self) -> bool:
        """See Renewal."""
        present = self._continuing()
        return present is not None and present.is_sessionless() and self._source.doubt()

    def versions(self) -> dict[str, str]:
        """Of the secrets that are in use."""
        return {**self._target.versions(), **self._source.versions()}

    def _continuing(self) -> Continuing | None:
        raw = self._raw
        return None if raw is None or not isinstance(raw, Continuing) else raw

    def _keep(self, reason: str) -> None:
        """An open session needs no secret. Where it ends the lane is tried again, and logs in with what holds then."""
        self._source.keep()
        log.info("lane.source_kept", reason=reason)

    def _opened(self) -> Source:
        return self._source.open(self._opened_with)

    def _opened_with(self, spec: SystemSpec) -> Source:
        former = self._continuing()
        if not self._is_handing_over:
            self._raw = self._begin(self._open_raw(spec))
            return self._raw
        heir = self._open_raw(spec)
        try:
            if former is None or not former.hand_over(heir):
                raise _NotHandedOver
        except BaseException:
            heir.close()
            raise
        self._raw = heir
        return heir
