"""One circuit per key: for functions that reach many far sides, such as tenants, regions or hosts."""

from __future__ import annotations

import threading
from collections import OrderedDict
from typing import TYPE_CHECKING, Any, cast

from resilience.core.errors import ConfigurationError, require
from resilience.core.units import whole
from resilience.policies.breaker import CircuitBreaker
from resilience.policies.matching import is_plain
from resilience.policies.policy import Policy
from resilience.runtimes.entry import request_of

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Mapping

    from resilience.core.call import Call
    from resilience.core.ports import Proceed

# As many circuits as a client keeps origins.
_MOST = 1000


class _Entry:
    """One key's breaker, and how many calls are inside it."""

    __slots__ = ("breaker", "inside")

    def __init__(self, breaker: CircuitBreaker) -> None:
        self.breaker = breaker
        self.inside = 0


class KeyedCircuitBreaker(Policy):
    """A :class:`CircuitBreaker` for each value of `key`, a function of the call's arguments.

    Takes `most`, the number of circuits kept (from 1; 1000), and otherwise what :class:`CircuitBreaker` takes; each
    circuit is named by its key. When there are more, the one that was longest without a call goes, unless it has calls
    inside, or is not closed: then there may be more. Raises ConfigurationError.
    """

    def __init__(self, key: Callable[..., Hashable], /, *, most: int = _MOST, **options: Any) -> None:  # noqa: ANN401
        require("key", key, "a plain function of the call's arguments", is_plain)
        self._key = key
        self._most = whole("most", most)
        self._name: str | None = options.pop("name", None)
        first = CircuitBreaker(**options, name=self._name)  # what is wrong with them shows now
        # What may have been an iterator has been gone through, once for all.
        lists: dict[str, Any] = {"exclude": first.excluded_exceptions, "listeners": cast("Any", first).listeners}
        self._options = options | {name: values for name, values in lists.items() if name in options}
        self._lock = threading.Lock()
        self._entries: OrderedDict[Hashable, _Entry] = OrderedDict()

    def __repr__(self) -> str:
        return f"KeyedCircuitBreaker({self._key!r}, most={self._most}, {self._options!r})"

    @property
    def circuits(self) -> Mapping[Hashable, CircuitBreaker]:
        """The circuits there are now, by key, the one used last at the end."""
        with self._lock:
            return {key: entry.breaker for key, entry in self._entries.items()}

    async def around(self, call: Call, proceed: Proceed, /) -> Any:  # noqa: ANN401
        """Send the call through the circuit of its key."""
        _, args, kwargs = request_of(call)
        entry = self._enter(self._key(*args, **kwargs))
        try:
            return await entry.breaker.around(call, proceed)
        finally:
            with self._lock:
                entry.inside -= 1

    def _breaker_for(self, key: Hashable) -> CircuitBreaker:
        """Return a new breaker, as a key gets it that is not known yet."""
        name = str(key) if self._name is None else f"{self._name} {key}"
        return CircuitBreaker(**self._options, name=name)

    def _going_on(self, breakers: Mapping[Hashable, CircuitBreaker]) -> KeyedCircuitBreaker:
        """Return a copy that begins with these breakers."""
        twin = KeyedCircuitBreaker(self._key, most=self._most, name=self._name, **self._options)
        twin._entries.update((key, _Entry(breaker)) for key, breaker in breakers.items())
        return twin

    def _enter(self, key: Hashable) -> _Entry:
        try:
            hash(key)
        except TypeError:
            argument, expected = "key", "a function that returns something hashable"
            raise ConfigurationError(argument, key, expected) from None
        with self._lock:
            entry = self._entries.get(key)
            if entry is None:
                entry = self._entries[key] = _Entry(self._breaker_for(key))
                self._evict_locked()
            entry.inside += 1
            self._entries.move_to_end(key)
            return entry

    def _evict_locked(self) -> None:
        surplus = len(self._entries) - self._most
        if surplus <= 0:
            return
        idle = [
            key
            for key, entry in list(self._entries.items())[:-1]
            if not entry.inside and entry.breaker.current_state == "closed" and entry.breaker.mode == "normal"
        ]
        for key in idle[:surplus]:
            del self._entries[key]
