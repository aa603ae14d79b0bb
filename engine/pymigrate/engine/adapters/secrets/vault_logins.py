"""The login to a Vault, kept alive: renewed before it ends, and made anew where it has ended or was revoked. One thread does so for all.

What Vault makes on demand ends with the login that it was made by, whatever its own lease says: so long a login's end is remembered.
"""

import math
import threading
from dataclasses import dataclass, field

import hvac
import structlog

from pymigrate.engine.adapters.secrets.vault_methods import Door, Entered, client_with
from pymigrate.engine.adapters.secrets.vault_saying import error_of
from pymigrate.engine.adapters.secrets.vault_transport import VaultRefusal
from pymigrate.engine.domain.errors import PermanentError, SecretsUnavailable, TemporaryError

log = structlog.get_logger(__name__)
RENEW_SHARE = 2 / 3  # of its life, after which a login is renewed
ENDING_SHARE = 1 / 3  # one that is given less than this of its first life will soon be given none
AGAIN_SECONDS = 5.0  # between two tries to renew, or to log in after a refusal
AGAIN_SHARE = 0.1  # of what is left of its life, if that is longer
YOUNG_SECONDS = 60.0
FORMER_MAX = 100


@dataclass(frozen=True, slots=True)
class Login:
    """A token in use, its number, and when it is to be renewed and when it ends, by the monotonic clock."""

    number: int
    client: hvac.Client = field(repr=False)
    entered: Entered
    began: float
    due: float
    ends: float


class Logins:
    """Safe on every thread."""

    def __init__(self, door: Door) -> None:
        self._door = door
        self._clock = door.pool.clock
        self._lock = threading.Lock()
        self._login: Login | None = None
        self._ends: dict[int, float] = {}
        self._former: dict[int, Login] = {}  # the present one too
        self._is_closed = False

    def current(self) -> Login:
        """The login, made or renewed where that is due."""
        login, now = self._login, self._clock.monotonic()
        if login is not None and now < login.due:
            return login
        is_usable = login is not None and now < login.ends
        if not self._lock.acquire(blocking=not is_usable) and login is not None:
            return login  # another thread renews it
        try:
            return self._kept()
        finally:
            self._lock.release()

    def anew(self, refused: Login) -> Login | None:
        """Another login in place of one with which a request was refused: where its token is no longer good, or is of some age, so that
        what its role has been allowed since counts. None: it is the request that is refused."""
        with self._lock:
            if self._login is not None and self._login.number != refused.number:
                return self._login
            is_young = self._clock.monotonic() < refused.began + YOUNG_SECONDS
            if (is_young or not refused.entered.is_own) and self._is_good(refused):
                return None
            self._login = self._logged_in()
            log.info("vault.logged_in_anew", address=self._door.place.address, method=self._door.place.login.method)
            return self._login

    def ends(self, number: int) -> float:
        """When that login ends, by the monotonic clock."""
        with self._lock:
            return self._ends.get(number, math.inf)

    def close(self) -> None:
        """Gives up every token that Vault gave and that may live. One that can't be given up now ends by itself."""
        with self._lock:
            self._is_closed = True
            now = self._clock.monotonic()
            logins = [login for login in self._former.values() if now < self._ends.get(login.number, math.inf)]
            self._login = None
            self._former.clear()
        for login in logins:
            if login.entered.is_own:
                try:
                    login.client.auth.token.revoke_self()
                except VaultRefusal:
                    continue
                except TemporaryError as error:
                    log.warning("vault.not_logged_out", reason=error.message)
                    return

    def _kept(self) -> Login:
        now = self._clock.monotonic()
        login = self._login
        if login is not None and now < login.due:
            return login
        if login is None or now >= login.ends:
            self._login = self._logged_in()
        elif login.entered.is_renewable:
            self._login = self._renewed(login, now)
        else:
            self._login = self._another(login, now)
        return self._login

    def _is_good(self, login: Login) -> bool:
        try:
            login.client.auth.token.lookup_self()
        except VaultRefusal as refusal:
            return refusal.status != 403
        return True

    def _logged_in(self) -> Login:
        if self._is_closed:
            raise SecretsUnavailable("whoever reads secrets here is ending")
        number = max(self._ends, default=0) + 1
        now = self._clock.monotonic()
        entered = self._door.enter()
        ends = now + (entered.seconds or math.inf)
        self._remember(number, ends)
        due = now + entered.seconds * RENEW_SHARE if entered.seconds else math.inf
        login = Login(number, client_with(self._door.pool, entered.token), entered, now, due, ends)
        self._former[number] = login
        while len(self._former) > FORMER_MAX:
            del self._former[next(iter(self._former))]
        return login

    def _renewed(self, login: Login, now: float) -> Login:
        try:
            auth = login.client.auth.token.renew_self()["auth"]
        except VaultRefusal as refusal:
            if refusal.status == 403:
                return self._logged_in()
            log.warning("vault.login_not_renewed", reason=error_of("renew-self", refusal).message)
            return self._later(login, now)
        except TemporaryError as error:
            log.warning("vault.login_not_renewed", reason=error.message)
            return self._later(login, now)
        seconds = float(auth.get("lease_duration") or 0)
        if seconds and seconds < login.entered.seconds * ENDING_SHARE and login.entered.is_own:
            return self._another(login, now)
        ends = now + (seconds or math.inf)
        self._remember(login.number, ends)
        due = now + seconds * RENEW_SHARE if seconds else math.inf
        return Login(login.number, login.client, login.entered, login.began, due, ends)

    def _another(self, login: Login, now: float) -> Login:
        """In place of one that can't be renewed and has not ended yet. It is left to end by itself, since leases were made by it."""
        try:
            return self._logged_in()
        except (PermanentError, TemporaryError) as error:
            log.warning("vault.no_other_login", reason=error.message)
            return self._later(login, now)

    def _later(self, login: Login, now: float) -> Login:
        due = min(now + max(AGAIN_SECONDS, (login.ends - now) * AGAIN_SHARE), login.ends)
        return Login(login.number, login.client, login.entered, login.began, due, login.ends)

    def _remember(self, number: int, ends: float) -> None:
        self._ends[number] = ends
        while len(self._ends) > FORMER_MAX:
            del self._ends[next(iter(self._ends))]
