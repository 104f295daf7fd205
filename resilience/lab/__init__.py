"""A laboratory of faults: real servers, a DNS server, load; used by the tests, the demo and the benchmarks."""

from resilience.lab.faults import Fault
from resilience.lab.fleet import Fleet
from resilience.lab.server import LabError, Server

__all__ = ["Fault", "Fleet", "LabError", "Server"]
