"""Reads of a refresh, in bulk: after a few objects of a kind have been read one by one, the others come from lists.

Terraform reads each object by itself, thousands in a large configuration. What was listed is known for a few seconds only, and forgotten
with the next command of Terraform and with everything that this provider writes. A change within those seconds is found by its etag.
"""

import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import grpc

from pymigrate.provider.engine import Engine

READS_MIN = 8  # so many objects of a kind are read one by one
AGE_SECONDS_MAX = 5.0
PAGE_SIZE = 500
PAGES_MAX = 20  # of a larger collection, objects are read one by one

Pager = Callable[[str, int, str], tuple[list[Any], str]]


@dataclass
class _Collection:
    """What is known of one collection."""

    turn: threading.Lock = field(default_factory=threading.Lock)
    generation: int = -1
    expires: float = 0.0
    objects: dict[str, Any] = field(default_factory=dict)
    is_listable: bool = True


class BulkReads:
    """The reads of one provider's process."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._generation = 0
        self._collections: dict[tuple[Engine, str], _Collection] = {}
        self._reads: Counter[str] = Counter()

    def forget(self) -> None:
        """Something was written, or another command begins."""
        with self._lock:
            self._generation += 1

    def begin(self) -> None:
        """Another command of Terraform: what is read is counted anew too."""
        with self._lock:
            self._generation += 1
            self._collections.clear()
            self._reads.clear()

    def find(self, engine: Engine, name: str, page: Pager) -> Any:
        """The object as its collection's list has it; None where it must be read by itself. `page` gives objects and the next page's
        token for a collection's parent, a size and a token."""
        parts = name.split("/")
        with self._lock:
            collection = self._collections.setdefault((engine, "/".join(parts[:-1])), _Collection())
            self._reads[parts[-2]] += 1
            if self._reads[parts[-2]] <= READS_MIN or not collection.is_listable:
                return None
        with collection.turn:  # one lists, whoever reads beside it waits for that
            if collection.generation != self._generation or self._clock() >= collection.expires:
                self._list(collection, "/".join(parts[:-2]), page)
            return collection.objects.get(name)

    def _list(self, collection: _Collection, parent: str, page: Pager) -> None:
        generation, token = self._generation, ""
        collection.objects = {}
        for _ in range(PAGES_MAX):
            try:
                found, token = page(parent, PAGE_SIZE, token)
            except grpc.RpcError:  # the reads that follow tell what is the matter
                break
            collection.objects |= {each.name: each for each in found}
            if not token:
                collection.generation, collection.expires = generation, self._clock() + AGE_SECONDS_MAX
                return
        collection.is_listable, collection.objects = False, {}
