"""An iterator in, the same items out, made in a thread of their own while the last ones are worked on."""

from __future__ import annotations

import atexit
from collections import deque
from threading import Condition, Thread
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Generator, Iterable, Iterator

Item = TypeVar("Item")


def ahead(items: Iterable[Item], n_items: int) -> Iterator[Item]:
    """The items in their order, up to `n_items` of them made before they are asked for.

    What making one raises is raised here, after the items before it. Who stops asking (`close`) ends the
    thread, which closes a generator that it was walking.

    >>> list(ahead((n * n for n in range(4)), 2))
    [0, 1, 4, 9]
    """
    making = _Making(items, n_items)
    try:
        atexit.register(making.stop)  # an error may hold on to this generator until the program ends
        making.thread.start()
        yield from making.taken()
    finally:
        making.stop()
        atexit.unregister(making.stop)


class _Making(Generic[Item]):
    """A thread, the items that it has made, and how it ended."""

    def __init__(self, items: Iterable[Item], n_items: int) -> None:
        self.thread = Thread(target=self._make, name="ahead", daemon=True)
        self._items, self._n_items = items, n_items
        self._made: deque[Item] = deque()
        self._changed = Condition()
        self._stopped = self._ended = False
        self._error: BaseException | None = None

    def taken(self) -> Generator[Item, None, None]:
        """The items, as soon as each is there."""
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._made or self._ended)
                if not self._made:
                    break
                item = self._made.popleft()
                self._changed.notify()
            yield item
        if self._error is not None:
            raise self._error

    def stop(self) -> None:
        """Waits until the thread has made what it is at."""
        with self._changed:
            self._stopped = True
            self._changed.notify()
        if self.thread.is_alive():
            self.thread.join()

    def _make(self) -> None:
        walked = iter(self._items)
        try:
            for item in walked:
                with self._changed:
                    self._changed.wait_for(lambda: self._stopped or len(self._made) < self._n_items)
                    if self._stopped:
                        break
                    self._made.append(item)
                    self._changed.notify()
        except BaseException as error:
            self._error = error  # raised where the items are taken
        finally:
            if close := getattr(walked, "close", None):
                close()
            with self._changed:
                self._ended = True
                self._changed.notify()
