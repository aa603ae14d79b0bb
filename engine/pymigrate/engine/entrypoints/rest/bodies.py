"""The body of a request, read no further than it may go."""

from starlette.datastructures import Headers
from starlette.types import Receive

from pymigrate.engine.entrypoints.rest.problems import Refused


async def read_body(headers: Headers, receive: Receive, bytes_max: int) -> bytes:
    """The body as it came, at most so much of it; of one that was cut off, what is there. Raises Refused (413) as soon as it is known to be
    larger."""
    announced = headers.get("content-length", "")
    if announced.isdecimal() and int(announced[:20]) > bytes_max:
        raise _too_large(bytes_max)
    parts: list[bytes] = []
    left = bytes_max
    while True:
        message = await receive()
        part = message.get("body", b"")
        left -= len(part)
        if left < 0:
            raise _too_large(bytes_max)
        parts.append(part)
        if not message.get("more_body", False):
            return b"".join(parts)


def _too_large(bytes_max: int) -> Refused:
    return Refused(413, "BODY_TOO_LARGE", f"a body has at most {bytes_max:,} bytes here")
