"""What a server writes into its home so that clients find it: where it listens, and with TLS what to know it by."""

from pathlib import Path

from pymigrate.engine.entrypoints.client_certificates import ClientCertificates
from pymigrate.engine.entrypoints.engine_access import host_of
from pymigrate.engine.entrypoints.server_certificate import ServerCertificate
from pymigrate.engine.settings import Settings

# Whoever listens on every address is reached on this machine's own; others ask for what is advertised.
EVERY_ADDRESS = {"0.0.0.0": "127.0.0.1", "[::]": "[::1]"}  # noqa: S104 (what is listened on is the settings' matter)


def build_certificate(settings: Settings, *, is_told: bool = True) -> ServerCertificate | None:
    """What the settings serve with, None without TLS. The home's `ca.crt` becomes what clients know it by, where `is_told`: the
    home is told of the engine alone. Raises PermanentError for what is no pair, or of another name than clients look for."""
    path = settings.authorities_path
    if settings.tls_certificate is None or settings.tls_key is None:
        if is_told:
            path.unlink(missing_ok=True)  # an earlier engine's, by which nobody would speak to this one
        return None

    def keep(authorities: bytes) -> None:
        if is_told:
            _write(path, authorities)

    known_as = host_of(settings.advertise or reached_at(settings.listen, 0)) if is_told else ""
    clients = None
    if settings.tls_client_ca is not None:
        clients = ClientCertificates(settings.tls_client_ca, settings.tls_client_required)
    return ServerCertificate(settings.tls_certificate, settings.tls_key, settings.ca_file, keep, known_as, clients)


def tell_server_name(settings: Settings) -> None:
    """Writes the name that the certificate is for, where clients on this machine would look for another one in it."""
    if settings.tls_certificate is not None and settings.advertise:
        tell(settings.server_name_path, host_of(settings.advertise))
    else:
        settings.server_name_path.unlink(missing_ok=True)


def reached_at(listen: str, port: int) -> str:
    """Where a server is reached from its own machine."""
    host = listen.rpartition(":")[0]
    return f"{EVERY_ADDRESS.get(host, host)}:{port}"


def tell(path: Path, line: str) -> None:
    """Writes a line for clients to find."""
    _write(path, f"{line}\n".encode())


def tell_no_more(path: Path, line: str) -> None:
    """Takes it away again, unless another process that came later has told its own there."""
    try:
        is_own = path.read_text() == f"{line}\n"
    except FileNotFoundError:
        return
    if is_own:
        path.unlink(missing_ok=True)


def _write(path: Path, text: bytes) -> None:
    """Whole or not at all."""
    fresh = path.with_name(f"{path.name}.new")
    fresh.write_bytes(text)
    fresh.replace(path)
