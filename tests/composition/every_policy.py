"""Which policies there are: what is claimed of every policy is shown of each, or the test fails that counts them."""

import resilience


def public_policies():
    """Return the public classes that can stand around a call."""
    public = (getattr(resilience, name) for name in resilience.__all__)
    return {it for it in public if isinstance(it, type) and callable(getattr(it, "around", None))}


class Covered:
    """Takes note of the policies that tests are about: `@covered(Retry)` above each."""

    def __init__(self):
        self.policies = set()

    def __call__(self, *policies):
        self.policies.update(policies)
        return lambda test: test
