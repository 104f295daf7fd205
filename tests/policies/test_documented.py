"""Every argument of every policy stands in the documents."""

import inspect
import re
from pathlib import Path

import pytest

import resilience
from tests.composition.every_policy import public_policies

DOCS = Path(__file__).parents[2] / "docs"
ARGUMENTS = {resilience.Aimd, resilience.Gradient2, resilience.HealthCheck, resilience.RetryBudget}
MADE_BY_OTHERS = {resilience.NamedPipeline}  # a Registry's
DOCUMENTED = (public_policies() | ARGUMENTS) - MADE_BY_OTHERS


def pages():
    """Return all that is written about policies, page by page."""
    paths = [DOCS / "policies.md", *(DOCS / "policies").glob("*.md")]
    return {path.name: path.read_text(encoding="utf-8") for path in paths}


@pytest.mark.parametrize("policy", sorted(DOCUMENTED, key=lambda policy: policy.__name__), ids=lambda it: it.__name__)
def test_every_argument_is_explained(policy):
    about = "\n".join(text for text in pages().values() if re.search(rf"\b{policy.__name__}\b", text))
    assert about
    parameters = inspect.signature(policy).parameters.values()
    named = [it.name for it in parameters if it.kind in {it.POSITIONAL_OR_KEYWORD, it.KEYWORD_ONLY}]
    missing = [name for name in named if not re.search(rf"`[^`\n]*\b{name}\b[^`]*`", about)]
    assert missing == []


def test_every_field_of_a_service_is_explained():
    table = (DOCS / "policies.md").read_text(encoding="utf-8").partition("\n## Service\n")[2].partition("\n## ")[0]
    named = set(re.findall(r"`(\w+)`", "".join(row.split("|")[1] for row in table.splitlines() if row.startswith("|"))))
    assert named == set(inspect.signature(resilience.Service).parameters)
