"""A process that is held to the addresses that may be connected to, tried from inside in one of its own, since it can't be undone."""

import json
import socket
import subprocess
import sys
from collections.abc import Iterator

import pytest

# Each attempt prints what came of it: a name of an error, or what it got.
SCRIPT = """
import json, os, socket, subprocess, sys, urllib.request
from pymigrate.engine.adapters.channels.addresses import OutgoingAddresses
from pymigrate.engine.adapters.channels.outgoing_guard import guard_process, refusals

port, allowed = int(sys.argv[1]), json.loads(sys.argv[2])
guard_process(OutgoingAddresses(allowed))
noted = []
refusals.set(noted)

def connect(family, address):
    with socket.socket(family, socket.SOCK_STREAM) as connecting:
        connecting.settimeout(1)
        connecting.connect(address)
        return "connected"

def datagram():
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sending:
        sending.sendto(b"x", ("127.0.0.1", port))
        return "sent"

attempts = {
    "address": lambda: connect(socket.AF_INET, ("127.0.0.1", port)),
    "name": lambda: socket.create_connection(("localhost", port), 1).close() or "connected",
    "name in place of an address": lambda: connect(socket.AF_INET, ("localhost", port)),
    "connect_ex": lambda: socket.socket().connect_ex(("127.0.0.1", port)),
    "mapped": lambda: connect(socket.AF_INET6, ("::ffff:127.0.0.1", port)),
    "unix": lambda: connect(socket.AF_UNIX, "/dev/log"),
    "datagram": datagram,
    "url": lambda: urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=1).status,
    "program": lambda: subprocess.run(["true"]).returncode,
    "shell": lambda: os.system("true"),
    "spawn": lambda: os.posix_spawn("/bin/true", ["true"], {}),
    "fork": lambda: os.fork(),
}
found = {}
for name, attempt in attempts.items():
    try:
        found[name] = str(attempt())
    except Exception as error:
        found[name] = type(getattr(error, "reason", error)).__name__
print(json.dumps({"found": found, "noted": noted}))
"""


@pytest.fixture
def port() -> Iterator[int]:
    """Somebody listens there."""
    with socket.create_server(("127.0.0.1", 0), backlog=16) as server:
        yield int(server.getsockname()[1])


def tried(port: int, allowed: list[str]) -> tuple[dict[str, str], list[str]]:
    """What came of each attempt, and what was noted of refusals."""
    command = [sys.executable, "-W", "ignore", "-c", SCRIPT, str(port), json.dumps(allowed)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    said = json.loads(done.stdout)
    return said["found"], said["noted"]


def test_nothing_inside_is_reached_by_any_way_and_no_program_is_started(port: int) -> None:
    found, noted = tried(port, [])
    assert set(found.values()) == {"PermissionError"}
    assert len(noted) >= len(found)
    assert any("this machine itself" in each for each in noted)
    assert any("another program" in each for each in noted)


def test_what_is_allowed_is_reached_and_nothing_else_is(port: int) -> None:
    found, _ = tried(port, ["127.0.0.0/8"])
    reached = {name for name, what in found.items() if what in ("connected", "sent", "0")}
    assert {"address", "name", "connect_ex", "datagram"} <= reached
    for name in ("name in place of an address", "unix", "program", "shell", "spawn", "fork"):
        assert found[name] == "PermissionError", name


def test_a_name_that_is_allowed_leads_anywhere_and_its_address_alone_does_not(port: int) -> None:
    found, _ = tried(port, ["localhost"])
    assert (found["address"], found["name"]) == ("PermissionError", "connected")
