"""Tell the server how long its answer will be waited for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import httpx

from resilience.core.propagation import DEADLINE_HEADER, header_name, milliseconds
from resilience.http.private import sibling
from resilience.policies.policy import Policy

if TYPE_CHECKING:
    from resilience.core.call import Call
    from resilience.core.ports import Proceed


class DeadlineHeader(Policy):
    """Send the milliseconds left with each attempt: to its own end, or to the call's deadline. Stands innermost.

    `name`: of the header (``x-deadline-ms``). The caller's request is left as it is. Raises ConfigurationError.
    """

    def __init__(self, name: str = DEADLINE_HEADER) -> None:
        self.name = header_name("name", name)

    def __repr__(self) -> str:
        return f"DeadlineHeader({self.name!r})"

    async def around(self, call: Call, proceed: Proceed, /) -> Any:  # noqa: ANN401
        """Send the call on with the header, if there is an end."""
        until = min([call.deadline, *(attempt.until for attempt in call.attempts[-1:])])
        value = milliseconds(until - call.runtime.now())
        if value is None:
            return await proceed(call)
        outer: httpx.Request = call.request
        twin = sibling(outer, outer.extensions)
        twin.headers = httpx.Headers(outer.headers)
        twin.headers[self.name] = value
        call.request = twin
        try:
            return await proceed(call)
        finally:
            call.request = outer
