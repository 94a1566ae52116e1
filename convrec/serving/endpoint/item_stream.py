"""Items that the model's thread reports, read by the event loop."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from concurrent.futures import Future

from convrec.serving.endpoint.engine import ListAnswer, RankedItem


class ItemStream:
    """The items of one list as they come; `first` is done once there is one."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._items: asyncio.Queue[RankedItem | None] = asyncio.Queue()
        self.first: asyncio.Future[None] = self._loop.create_future()

    def put(self, item: RankedItem) -> None:
        """Report an item, in any thread."""
        self._call(item)

    def finish(self, future: Future[ListAnswer]) -> None:
        """End the stream."""
        self._call(None)

    def _call(self, item: RankedItem | None) -> None:
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._add, item)

    def _add(self, item: RankedItem | None) -> None:
        self._items.put_nowait(item)
        if item is not None and not self.first.done():
            self.first.set_result(None)

    async def __aiter__(self) -> AsyncIterator[RankedItem]:
        while (item := await self._items.get()) is not None:
            yield item
