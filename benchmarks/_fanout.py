"""The reference of watching: a bare grpc.aio server that sends the same bytes to everybody ten times a second, and keeps when.

`python _fanout.py BYTES FILE`: prints its port, serves until its standard input gives a line, and writes the moments of its pictures.
"""

import asyncio
import json
import struct
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc

METHOD = "/benchmark.Fanout/Watch"
INTERVAL_SECONDS = 0.1


class Fanout:
    """One picture for all who watch: its number, and as many bytes as ours has."""

    def __init__(self, picture_bytes: int) -> None:
        self._padding = bytes(picture_bytes - 8)
        self._picture = b""
        self._woken = asyncio.Event()
        self.moments: list[float] = []

    async def tell(self) -> None:
        """Ten pictures a second."""
        due = time.monotonic()
        while True:
            self._picture = struct.pack("!q", len(self.moments)) + self._padding
            self.moments.append(time.monotonic())
            woken, self._woken = self._woken, asyncio.Event()
            woken.set()
            due += INTERVAL_SECONDS
            await asyncio.sleep(max(0.0, due - time.monotonic()))

    async def watch(self, request: bytes, context: Any) -> AsyncIterator[bytes]:
        """Every picture."""
        while True:
            await self._woken.wait()
            yield self._picture

    def handler(self) -> grpc.GenericRpcHandler:
        """The method."""
        service, _, method = METHOD[1:].rpartition("/")
        return grpc.method_handlers_generic_handler(service, {method: grpc.unary_stream_rpc_method_handler(self.watch)})


async def main(picture_bytes: int, file: Path) -> None:
    fanout = Fanout(picture_bytes)
    server = grpc.aio.server()
    server.add_generic_rpc_handlers((fanout.handler(),))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    telling = asyncio.create_task(fanout.tell())
    print(port, flush=True)
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.readline)
    telling.cancel()
    await server.stop(0)
    await asyncio.to_thread(file.write_text, json.dumps(fanout.moments))
    print("done", flush=True)


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]), Path(sys.argv[2])))
