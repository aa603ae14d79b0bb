"""A channel to the engine that serves from a home, for processes that are its clients."""

import asyncio

import grpc

from pymigrate.engine.entrypoints.engine_access import EngineAccess, EngineAddress

# What Terraform takes too: a phase may have ten thousand datasets, and the list of a plan's phases is longer still.
MESSAGE_BYTES_MAX = 64 * 1024 * 1024
RECONNECT_SECONDS = 1.0
RENEWAL_SECONDS_MAX = 300.0
OPTIONS: tuple[tuple[str, int], ...] = (
    ("grpc.max_receive_message_length", MESSAGE_BYTES_MAX),
    ("grpc.max_send_message_length", MESSAGE_BYTES_MAX),
    ("grpc.enable_http_proxy", 0),
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", int(RECONNECT_SECONDS * 1_000)),
)


class EngineChannel:
    """A channel to the engine that is reached so, wherever that is now: a new engine may take another port, and the certificates that it
    is known by are renewed."""

    def __init__(self, access: EngineAccess) -> None:
        self._access = access
        self._address: EngineAddress | None = None
        self._channel: grpc.aio.Channel | None = None
        self._closing: dict[asyncio.Task[None], grpc.aio.Channel] = {}

    def get(self) -> grpc.aio.Channel:
        """The channel. Raises EngineUnavailable while no engine serves. The files are short, and asked for each time since nothing else
        tells that they changed."""
        address = self._access.address()
        if self._channel is None or self._address is None or address != self._address:
            if self._channel is not None and self._address is not None:
                # Other certificates are no reason to end what is under way; another address is another engine.
                grace = RENEWAL_SECONDS_MAX if address.endpoint == self._address.endpoint else None
                closing = asyncio.ensure_future(self._channel.close(grace))
                self._closing[closing] = self._channel
                closing.add_done_callback(lambda ended: self._closing.pop(ended, None))
            self._address = address
            self._channel = opened(address)
        return self._channel

    async def close(self) -> None:
        """Ends every call."""
        former = dict(self._closing)
        for closing in former:
            closing.cancel()
        await asyncio.gather(*former, return_exceptions=True)
        for channel in former.values():
            await channel.close()
        if self._channel is not None:
            await self._channel.close()
            self._channel = None


def opened(address: EngineAddress) -> grpc.aio.Channel:
    """A channel to an address, over TLS where it has certificates."""
    options = (*OPTIONS, *address.options)
    if (credentials := address.credentials) is not None:
        return grpc.aio.secure_channel(address.endpoint, credentials, options=options)
    return grpc.aio.insecure_channel(address.endpoint, options=options)
