"""A channel to the engine that serves from a home, for processes that are its clients."""

import asyncio
from pathlib import Path

import grpc

from pymigrate.engine.domain.errors import EngineUnavailable

# What Terraform takes too: a phase may have ten thousand datasets, and the list of a plan's phases is longer still.
MESSAGE_BYTES_MAX = 64 * 1024 * 1024
RECONNECT_SECONDS = 1.0
OPTIONS: tuple[tuple[str, int], ...] = (
    ("grpc.max_receive_message_length", MESSAGE_BYTES_MAX),
    ("grpc.max_send_message_length", MESSAGE_BYTES_MAX),
    ("grpc.enable_http_proxy", 0),
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", int(RECONNECT_SECONDS * 1_000)),
)


class EngineChannel:
    """A channel to the engine that serves from a home, wherever that is now: a new engine may take another port."""

    def __init__(self, home: Path) -> None:
        self._home = home
        self._endpoint = ""
        self._channel: grpc.aio.Channel | None = None
        self._closing: set[asyncio.Task[None]] = set()

    def get(self) -> grpc.aio.Channel:
        """The channel. Raises EngineUnavailable while no engine serves. The file is a line, and asked for each time since nothing else
        tells that it changed."""
        try:
            endpoint = (self._home / "endpoint").read_text().strip()
        except OSError as error:
            raise EngineUnavailable(
                f"no engine serves from {self._home}: start one with `pymigrate serve --home {self._home}`"
            ) from error
        if self._channel is None or endpoint != self._endpoint:
            if self._channel is not None:
                closing = asyncio.ensure_future(self._channel.close())
                self._closing.add(closing)
                closing.add_done_callback(self._closing.discard)
            self._endpoint = endpoint
            self._channel = grpc.aio.insecure_channel(endpoint, options=OPTIONS)
        return self._channel

    async def close(self) -> None:
        """Ends every call."""
        await asyncio.gather(*self._closing)
        if self._channel is not None:
            await self._channel.close()
            self._channel = None
