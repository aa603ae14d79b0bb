"""Clients that watch, in a process of their own: each notes when a picture has arrived, before it looks at it.

`python _watchers.py KIND ADDRESS TOKEN RUN COUNT FILE`: says `ready` when all of them have seen a first picture, goes on until its standard
input gives a line, and writes what came to the file. `stuck` takes one picture over each surface and then nothing, until that line: then it
counts how many had been sent to it meanwhile.
"""

import asyncio
import json
import socket
import struct
import sys
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from pathlib import Path
from typing import Any

import grpc
import orjson
from _fanout import METHOD

from pymigrate.v1 import run_pb2

SSE_LINE_BYTES_MAX = 16 * 1024 * 1024
STUCK_BUFFER_BYTES = 4_096
BACKLOG_SECONDS = 0.05
# A connection of its own for each, as clients of their own have.
CHANNEL_OPTIONS = (("grpc.use_local_subchannel_pool", 1), ("grpc.max_receive_message_length", 16 * 1024 * 1024))
# The stuck one is stuck at once: as little as gRPC allows is sent ahead of what it takes.
STUCK_OPTIONS = (*CHANNEL_OPTIONS, ("grpc.http2.bdp_probe", 0), ("grpc.http2.lookahead_bytes", 65_536))
Taken = list[tuple[float, Any]]
Noted = Callable[[Any], None]


async def over_grpc(address: str, token: str, run: str, note: Noted) -> None:
    """WatchRun: for each picture, the chunks of each dataset."""
    async with grpc.aio.insecure_channel(address, options=CHANNEL_OPTIONS) as channel:
        async for arrived, body in grpc_bodies(channel, token, run):
            answer = run_pb2.WatchRunResponse.FromString(body)
            note((arrived, {lane.dataset: lane.chunks for lane in answer.lanes}))


async def grpc_bodies(channel: grpc.aio.Channel, token: str, run: str) -> AsyncIterator[tuple[float, bytes]]:
    """Every message with when it arrived, not decoded yet."""
    call: grpc.aio.UnaryStreamMultiCallable[run_pb2.WatchRunRequest, bytes] = channel.unary_stream(
        "/pymigrate.v1.RunService/WatchRun", request_serializer=run_pb2.WatchRunRequest.SerializeToString
    )
    async for body in call(run_pb2.WatchRunRequest(name=run), metadata=(("authorization", f"Bearer {token}"),)):
        yield time.monotonic(), body


async def over_sse(address: str, token: str, run: str, note: Noted) -> None:
    """GET …:watch: for each picture, the chunks of each dataset."""
    reader, writer = await sse(address, token, run)
    try:
        async for arrived, body in sse_bodies(reader):
            note((arrived, {lane["dataset"]: lane.get("chunks", 0) for lane in orjson.loads(body)["lanes"]}))
    finally:
        writer.close()


async def sse(
    address: str, token: str, run: str, buffer_bytes: int = 0
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """A stream that was asked for, on a connection of its own."""
    host, _, port = address.rpartition(":")
    connection = socket.socket()
    if buffer_bytes:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer_bytes)
    connection.connect((host, int(port)))
    connection.setblocking(False)
    limit = buffer_bytes or SSE_LINE_BYTES_MAX
    reader, writer = await asyncio.open_connection(sock=connection, limit=limit)
    head = f"GET /v1/{run}:watch HTTP/1.1\r\nhost: {address}\r\nauthorization: Bearer {token}\r\n\r\n"
    writer.write(head.encode())
    return reader, writer


async def sse_bodies(reader: asyncio.StreamReader) -> AsyncIterator[tuple[float, bytes]]:
    """The data of every event with when it arrived. An event is sent in one chunk of the response."""
    while not (await reader.readline()).isspace():
        pass
    while size := int((await reader.readline()).strip() or b"0", 16):
        chunk = await reader.readexactly(size + 2)
        arrived = time.monotonic()
        for line in chunk.split(b"\n"):
            if line.startswith(b"data: "):
                yield arrived, line[len(b"data: ") :]


async def bare(address: str, token: str, run: str, note: Noted) -> None:
    """The reference's fan-out: for each picture, its number."""
    async with grpc.aio.insecure_channel(address, options=CHANNEL_OPTIONS) as channel:
        call: grpc.aio.UnaryStreamMultiCallable[bytes, bytes] = channel.unary_stream(METHOD)
        async for body in call(b""):
            arrived = time.monotonic()
            note((arrived, struct.unpack_from("!q", body)[0]))


async def told() -> None:
    """Returns when the standard input gives a line."""
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.readline)


async def watch(follow: Callable[[Noted], Coroutine[Any, Any, None]], count: int) -> list[Taken]:
    """What each of so many took."""
    taken: list[Taken] = [[] for _ in range(count)]
    watching = [asyncio.create_task(follow(one.append)) for one in taken]
    while not all(taken):
        await asyncio.sleep(0.01)
        for task in watching:
            if task.done():
                task.result()
    print("ready", flush=True)
    await told()
    for task in watching:
        if task.done():
            task.result()
        task.cancel()
    await asyncio.gather(*watching, return_exceptions=True)
    return taken


async def stuck(address: str, rest: str, token: str, run: str) -> dict[str, int]:
    """How many pictures had been sent over each surface to one that took only the first."""
    async with grpc.aio.insecure_channel(address, options=STUCK_OPTIONS) as channel:
        bodies = grpc_bodies(channel, token, run)
        await anext(bodies)
        reader, writer = await sse(rest, token, run, STUCK_BUFFER_BYTES)
        await reader.readline()
        print("ready", flush=True)
        await told()
        found = {"grpc": await backlog(bodies), "sse": await backlog(sse_bodies(reader))}
        writer.close()
        return found


async def backlog(bodies: AsyncIterator[tuple[float, bytes]]) -> int:
    """How many come at once."""
    following = asyncio.ensure_future(anext(bodies))
    found = 0
    while (await asyncio.wait({following}, timeout=BACKLOG_SECONDS))[0]:
        following.result()
        found += 1
        following = asyncio.ensure_future(anext(bodies))
    following.cancel()
    await asyncio.gather(following, return_exceptions=True)
    return found


async def main(kind: str, address: str, token: str, run: str, count: int, file: Path) -> None:
    found: Any
    if kind == "stuck":
        own, _, rest = address.partition(",")
        found = await stuck(own, rest, token, run)
    else:
        follow = {"grpc": over_grpc, "sse": over_sse, "bare": bare}[kind]
        found = await watch(lambda note: follow(address, token, run, note), count)
    await asyncio.to_thread(file.write_text, json.dumps(found))
    print("done", flush=True)


if __name__ == "__main__":
    _, kind, address, token, run, count, file = sys.argv
    asyncio.run(main(kind, address, token, run, int(count), Path(file)))
