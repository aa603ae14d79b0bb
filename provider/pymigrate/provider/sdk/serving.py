"""The provider's process: the handshake with Terraform, the socket, and an end that lets nothing run on.

Mutual TLS is out of reach: Terraform's client certificate is of a curve that grpcio refuses. The socket lies in a folder of the
user's own, mode 0700, and the server's side is TLS.
"""

import base64
import json
import os
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
MESSAGE_BYTES_MAX = 256 * 1024 * 1024
PARENT_SECONDS = 1.0
GRACE_SECONDS = 5.0
REATTACH = "--reattach"


class _Controller(grpc_controller_pb2_grpc.GRPCControllerServicer):
    """go-plugin's own service: Terraform says that it is done."""

    def __init__(self, ended: threading.Event) -> None:
        self._ended = ended

    def Shutdown(self, request: Any, context: Any) -> Any:
        """Ends the process once this is answered."""
        self._ended.set()
        return grpc_controller_pb2.Empty()


class _Stdio(grpc_stdio_pb2_grpc.GRPCStdioServicer):
    """go-plugin asks for the output of a plugin; ours has none but its log."""

    def StreamStdio(self, request: Any, context: Any) -> Any:
        """Nothing."""
        return iter(())


def main(provider: Any, arguments: list[str]) -> int:
    """Serves one Terraform; the exit code."""
    is_reattached = REATTACH in arguments
    if not is_reattached and os.environ.get(COOKIE[0]) != COOKIE[1]:
        sys.stderr.write(
            "This is the PyMigrate provider for Terraform. Terraform starts it; to install it, run `pymigrate provider install`.\n"
        )
        return 1
    logs.configure()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is Terraform's to handle: it asks with StopProvider
    ended = threading.Event()
    signal.signal(signal.SIGTERM, lambda number, frame: ended.set())
    servicer = Servicer(provider)
    server = grpc.server(
        futures.ThreadPoolExecutor(max_workers=THREADS),
        options=[
            ("grpc.max_receive_message_length", MESSAGE_BYTES_MAX),
            ("grpc.max_send_message_length", MESSAGE_BYTES_MAX),
        ],
    )
    tfplugin_pb2_grpc.add_ProviderServicer_to_server(servicer, server)
    grpc_controller_pb2_grpc.add_GRPCControllerServicer_to_server(_Controller(ended), server)
    grpc_stdio_pb2_grpc.add_GRPCStdioServicer_to_server(_Stdio(), server)
    with tempfile.TemporaryDirectory(prefix="pymigrate-") as folder:  # made with mode 0700
        socket = Path(folder) / "provider.sock"
        line = _reattach(server, socket, provider) if is_reattached else _handshake(server, socket)
        server.start()
        sys.stdout.write(f"{line}\n")
        sys.stdout.flush()
        _wait(ended)
        servicer.stopping.set()
        server.stop(GRACE_SECONDS).wait()
    return 0


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


def _wait(ended: threading.Event) -> None:
    """Until Terraform says so, or is gone: then another process has become the parent."""
    parent = os.getppid()
    while not ended.wait(PARENT_SECONDS):
        if os.getppid() != parent:
            return
