"""One query to one nameserver, over UDP or TCP, on whichever event loop runs."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING, Any

import dns.exception
import dns.inet
import dns.message
import dns.rcode

if TYPE_CHECKING:
    from dns.name import Name
    from dns.rdatatype import RdataType

    from resilience.discovery.trials import Trial, Trouble

UDP_PAYLOAD = 1232
"""Octets an answer over UDP may have: what fits every path unfragmented (DNS Flag Day 2020)."""
_NO_EDNS = frozenset({dns.rcode.FORMERR, dns.rcode.NOTIMP, dns.rcode.BADVERS})


async def exchange(name: Name, rdtype: RdataType, trial: Trial, /) -> dns.message.Message | Trouble:
    """Ask, and return the answer or why there is none. Sets no time limit: whoever awaits it does.

    Packets that are no answer to this very query (another id, another question, another sender, garbage) are passed
    over: whoever forges them must not end the wait for the real one.
    """
    from dns import asyncbackend, asyncquery  # noqa: PLC0415 - a tenth of a second, which not every client needs

    query = dns.message.make_query(name, rdtype, use_edns=0 if trial.edns else False, payload=UDP_PAYLOAD)
    host, port = trial.server.host, trial.server.port
    backend: Any = asyncbackend.get_backend(asyncbackend.sniff())
    try:
        if trial.tcp:
            response = await asyncquery.tcp(query, host, port=port, backend=backend)
        else:
            # Connected, so that the kernel tells of a port nobody listens on, and drops what others send.
            family = dns.inet.af_for_address(host)
            async with await backend.make_socket(family, socket.SOCK_DGRAM, 0, None, (host, port)) as sock:
                response = await asyncquery.udp(
                    query,
                    host,
                    port=port,
                    sock=sock,
                    ignore_errors=True,
                    ignore_unexpected=True,
                    raise_on_truncation=True,
                )
    except dns.message.Truncated:
        return "truncated"
    except dns.exception.Timeout:
        return "timeout"
    except (OSError, EOFError):
        return "unreachable"
    except dns.exception.DNSException:
        return "malformed"
    return "no-edns" if trial.edns and response.rcode() in _NO_EDNS else response
