"""The provider's process: the handshake with Terraform, the socket, and an end that lets nothing run on.

Mutual TLS is out of reach: Terraform's client certificate is of a curve that grpcio refuses. The socket lies in a folder of the
user's own, mode 0700, and the server's side is TLS.
"""

import base64
import json
import logging
import os
import queue
import signal
import sys
import tempfile
import threading
from concurrent import futures
from pathlib import Path
from typing import Any

import grpc
from tf.gen import grpc_controller_pb2, grpc_controller_pb2_grpc, grpc_stdio_pb2_grpc, tfplugin_pb2_grpc

from pymigrate.provider.sdk import certificates, logs
from pymigrate.provider.sdk.servicer import Servicer

COOKIE = ("TF_PLUGIN_MAGIC_COOKIE", "d602bf8f470bc67ca7faa0386276bbdd4330efaf76d1a219cb4d6991ca9872b2")
THREADS = 128
MESSAGE_BYTES_MAX = 64 * 1024 * 1024  # what Terraform takes of a plugin
SOCKET_PATH_BYTES_MAX = 103  # what every system's socket address holds
PARENT_SECONDS = 1.0
GRACE_SECONDS = 30.0
ORPHAN_GRACE_SECONDS = 3.0
REATTACH = "--reattach"

log = logging.getLogger("pymigrate.provider")


class _End:
    """The process's end, awaited by its main thread. Signal handlers may ask for it: a SimpleQueue's put never waits for a lock
    that the interrupted thread holds, as an Event's set would."""

    def __init__(self, parent: int) -> None:
        self._parent = parent
        self._asked: queue.SimpleQueue[str] = queue.SimpleQueue()

    def ask(self, reason: str) -> None:
        """Ends the process; returns at once."""
        self._asked.put(reason)

    def wait(self) -> float:
        """Until it is asked for, or Terraform is gone and another process has become the parent; how many seconds calls under
        way have."""
        while os.getppid() == self._parent:
            try:
                reason = self._asked.get(timeout=PARENT_SECONDS)
            except queue.Empty:
                continue
            log.debug("ending: %s", reason)
            return GRACE_SECONDS
        log.warning("ending: Terraform is gone")
        return ORPHAN_GRACE_SECONDS


class _Controller(grpc_controller_pb2_grpc.GRPCControllerServicer):
    """go-plugin's own service: Terraform says that it is done."""

    def __init__(self, end: _End) -> None:
        self._end = end

    def Shutdown(self, request: Any, context: Any) -> Any:
        """Ends the process once this is answered."""
        self._end.ask("Terraform is done")
        return grpc_controller_pb2.Empty()


class _Stdio(grpc_stdio_pb2_grpc.GRPCStdioServicer):
    """go-plugin asks for the output of a plugin; ours has none but its log."""

    def StreamStdio(self, request: Any, context: Any) -> Any:
        """Nothing."""
        return iter(())


def main(provider: Any, arguments: list[str]) -> int:
    """Serves one Terraform, and ends the process; the exit code where it can't serve."""
    end = _End(os.getppid())  # asked for before the handshake: Terraform may be gone right after it
    is_reattached = REATTACH in arguments
    if not is_reattached and os.environ.get(COOKIE[0]) != COOKIE[1]:
        sys.stderr.write(
            "This is the PyMigrate provider for Terraform. Terraform starts it; to install it, run `pymigrate provider install`.\n"
        )
        return 1
    handshake = _keep_stdout()
    logs.configure()
    # Ctrl-C reaches the whole process group and is Terraform's to handle: it asks with StopProvider.
    signal.signal(signal.SIGINT, (lambda *_: end.ask("interrupted")) if is_reattached else signal.SIG_IGN)
    signal.signal(signal.SIGTERM, lambda *_: end.ask("terminated"))
    servicer = Servicer(provider)
    pool = futures.ThreadPoolExecutor(max_workers=THREADS, thread_name_prefix="call")
    server = _server(servicer, pool, end)
    with tempfile.TemporaryDirectory(prefix="pymigrate-") as folder:  # made with mode 0700
        socket = Path(folder) / "provider.sock"
        if len(os.fsencode(socket)) > SOCKET_PATH_BYTES_MAX:
            sys.stderr.write(f"{socket} is too long for a socket's address: set TMPDIR to a shorter path.\n")
            return 1
        line = _reattach(server, socket, provider) if is_reattached else _handshake(server, socket)
        server.start()
        os.write(handshake, f"{line}\n".encode())
        grace_seconds = end.wait()
        servicer.stopping.set()
        server.stop(grace_seconds).wait()
    _await(pool)
    # The interpreter's own end waits for every thread without limit, and looks at every object once more while Terraform waits for it.
    os._exit(0)


def _keep_stdout() -> int:
    """A descriptor of stdout for the handshake; whatever else is printed goes to stderr, where it breaks nothing."""
    kept = os.dup(1)
    os.dup2(2, 1)
    return kept


def _server(servicer: Servicer, pool: futures.ThreadPoolExecutor, end: _End) -> grpc.Server:
    server = grpc.server(
        pool,
        options=[
            ("grpc.max_receive_message_length", MESSAGE_BYTES_MAX),
            ("grpc.max_send_message_length", MESSAGE_BYTES_MAX),
        ],
    )
    tfplugin_pb2_grpc.add_ProviderServicer_to_server(servicer, server)
    server.add_generic_rpc_handlers((servicer.ephemeral_handler(),))
    grpc_controller_pb2_grpc.add_GRPCControllerServicer_to_server(_Controller(end), server)
    grpc_stdio_pb2_grpc.add_GRPCStdioServicer_to_server(_Stdio(), server)
    return server


def _handshake(server: grpc.Server, socket: Path) -> str:
    """Binds, and tells where. Without PLUGIN_CLIENT_CERT Terraform was told to do without TLS."""
    if not os.environ.get("PLUGIN_CLIENT_CERT"):
        server.add_insecure_port(f"unix://{socket}")
        return f"1|6|unix|{socket}|grpc|"
    certificate = certificates.load(certificates.cache_path())
    server.add_secure_port(
        f"unix://{socket}", grpc.ssl_server_credentials([(certificate.key, certificate.pem)], require_client_auth=False)
    )
    return f"1|6|unix|{socket}|grpc|{base64.b64encode(certificate.der).decode().rstrip('=')}"


def _reattach(server: grpc.Server, socket: Path, provider: Any) -> str:
    """Binds without TLS, and tells what TF_REATTACH_PROVIDERS takes."""
    server.add_insecure_port(f"unix://{socket}")
    address = {"Network": "unix", "String": str(socket)}
    how = {"Protocol": "grpc", "ProtocolVersion": 6, "Pid": os.getpid(), "Test": True, "Addr": address}
    return json.dumps({provider.full_name(): how})


def _await(pool: futures.ThreadPoolExecutor) -> None:
    """Until the last call has ended, which one that does not end may not hinder."""
    waiting = threading.Thread(target=pool.shutdown, daemon=True)
    waiting.start()
    waiting.join(PARENT_SECONDS)
    if waiting.is_alive():
        log.warning("a call does not end; it is given up")
