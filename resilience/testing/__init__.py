"""Floor 4: what users test their own services with. Nothing here waits for real time or needs a network."""

from resilience.runtimes.clock import StuckError
from resilience.testing.attempts import assert_attempts
from resilience.testing.check import PolicyCheck, check_policy
from resilience.testing.dns import ScriptedDns
from resilience.testing.fast import fast
from resilience.testing.script import Script
from resilience.testing.steps import After, Answer, ConnectionRefused, ConnectionReset, Hang
from resilience.testing.virtual import VirtualClock, virtual

__all__ = [
    "After",
    "Answer",
    "ConnectionRefused",
    "ConnectionReset",
    "Hang",
    "PolicyCheck",
    "Script",
    "ScriptedDns",
    "StuckError",
    "VirtualClock",
    "assert_attempts",
    "check_policy",
    "fast",
    "virtual",
]
