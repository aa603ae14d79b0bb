"""A receiver in memory, which answers as a test says and keeps what it has taken."""

from collections.abc import Callable

from pymigrate.engine.ports.posts import Message, Outcome, Posted


class MemoryPosts:
    """`answer` may be set to anything that judges a message; at first everything is taken."""

    def __init__(self) -> None:
        self.asked: list[Message] = []
        self.taken: list[Message] = []
        self.answer: Callable[[Message], Posted] = lambda _: Posted(Outcome.SENT)
        self.is_closed = False

    async def post(self, message: Message) -> Posted:
        """Judges it, and keeps what is taken."""
        self.asked.append(message)
        posted = self.answer(message)
        if posted.outcome is Outcome.SENT:
            self.taken.append(message)
        return posted

    async def close(self) -> None:
        """Notes it."""
        self.is_closed = True
