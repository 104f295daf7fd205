"""What all tests share: async ones run on asyncio and on trio; properties search equally deep everywhere."""

import pytest
from hypothesis import HealthCheck, Phase, settings

settings.register_profile("house", deadline=None, suppress_health_check=[HealthCheck.too_slow], print_blob=True)
settings.load_profile("house")
# For `make mutation`, which asks for it by name: a few examples, the same each time, and the first that fails will do.
settings.register_profile(
    "mutation",
    settings.get_profile("house"),
    max_examples=25,
    stateful_step_count=25,
    derandomize=True,
    database=None,
    phases=(Phase.explicit, Phase.generate),
    suppress_health_check=list(HealthCheck),
)


@pytest.fixture(scope="module", params=["asyncio", "trio"])
def anyio_backend(request):
    return request.param
