"""A laboratory of faults: real HTTP servers, a DNS server, open-loop load.

The tests, the demo and the benchmarks use it, and so can the tests of your own services. It imports
nothing of the library it puts to the test.
"""

from resilience.lab.child import LabError
from resilience.lab.dns import DnsServer
from resilience.lab.faults import Fault
from resilience.lab.fleet import Fleet
from resilience.lab.load import run_load, run_load_blocking
from resilience.lab.report import Report, Sample
from resilience.lab.responder import DnsFault, Query, Responder
from resilience.lab.server import Server
from resilience.lab.tls import Authority

__all__ = [
    "Authority",
    "DnsFault",
    "DnsServer",
    "Fault",
    "Fleet",
    "LabError",
    "Query",
    "Report",
    "Responder",
    "Sample",
    "Server",
    "run_load",
    "run_load_blocking",
]
