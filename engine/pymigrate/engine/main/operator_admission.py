"""The operator's webhook as its settings say: on an address of its own, with the process's certificate."""

from pymigrate.engine.domain.errors import PermanentError
from pymigrate.engine.entrypoints.operator.admission import Admission
from pymigrate.engine.entrypoints.operator.admission_server import SETTING, AdmissionServer
from pymigrate.engine.entrypoints.operator.engine import EngineCalls
from pymigrate.engine.entrypoints.server_certificate import ServerCertificate
from pymigrate.engine.main.operator_settings import OperatorSettings
from pymigrate.engine.main.told_addresses import reached_at, tell, tell_no_more
from pymigrate.engine.settings import Settings

ENDPOINT = "operator-admission-endpoint"


class OperatorAdmission:
    """Serves the webhook where the settings ask for it. Raises PermanentError for one without a certificate: the API server asks over
    HTTPS alone. PYMIGRATE_CA_FILE is not looked at: it is whom this process trusts, as a client of the engine."""

    def __init__(self, settings: Settings, given: OperatorSettings, engine: EngineCalls) -> None:
        self._listen = given.admission_listen
        self._endpoint = settings.home / ENDPOINT
        self._told = ""
        self._server: AdmissionServer | None = None
        if not self._listen:
            return
        if settings.tls_certificate is None or settings.tls_key is None:
            raise PermanentError(
                f"{SETTING} needs a certificate, as the API server asks over HTTPS alone: set PYMIGRATE_TLS_CERTIFICATE and "
                "PYMIGRATE_TLS_KEY"
            )
        certificate = ServerCertificate(settings.tls_certificate, settings.tls_key)
        self._server = AdmissionServer(Admission(engine, given.environments), certificate)

    async def start(self) -> None:
        """Binds and serves; the home then names the address. Raises PermanentError when it is taken."""
        if self._server is not None:
            port = await self._server.start(self._listen)
            self._told = reached_at(self._listen, port)
            tell(self._endpoint, self._told)

    async def stop(self) -> None:
        """Lets requests under way end, and stops."""
        if self._server is not None:
            await self._server.stop()
            tell_no_more(self._endpoint, self._told)
