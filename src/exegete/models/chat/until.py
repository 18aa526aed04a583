"""A timeout of `httpx` that holds for a whole answer: its own counts anew with every byte, so that a dripping answer never ends.

1. when a request is sent, its timeout becomes a moment;
2. when the head of the answer is there, and at every piece of its body, the clock is looked at; past the moment, the answer is
   given up as one that did not come in time, and its connection is closed.

`hooks` are handed to any client of `httpx` (or of its successor `httpx2`), whose proxies and certificates stay as they are.
Cost: a look at the clock a piece.
"""

import importlib
import time
from collections.abc import Callable, Iterator
from functools import cache
from typing import Any

END = "exegete.end"  # the moment, among the extensions of a request


@cache
def hooks(client: type) -> dict[str, list[Callable[..., Any]]]:
    """What a `client` calls before it sends a request, and before it reads the body of the answer."""
    package = next(c.__module__ for c in client.__mro__ if c.__name__ == "Client").partition(".")[0]
    httpx: Any = importlib.import_module(package)

    class Until(httpx.SyncByteStream):
        """The pieces of a body until a moment."""

        def __init__(self, body: Any, end: float) -> None:
            self.body, self.end = body, end

        def __iter__(self) -> Iterator[bytes]:
            for piece in self.body:
                _look(self.end)
                yield piece

        def close(self) -> None:
            self.body.close()

    def _look(end: float) -> None:
        if time.monotonic() > end:
            raise httpx.ReadTimeout("The answer did not end in time.")

    def sent(request: Any) -> None:
        allowed = (request.extensions.get("timeout") or {}).get("read")
        request.extensions[END] = float("inf") if allowed is None else time.monotonic() + allowed

    def answered(response: Any) -> None:
        end = response.request.extensions[END]
        _look(end)
        response.stream = Until(response.stream, end)

    return {"request": [sent], "response": [answered]}
