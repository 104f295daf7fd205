"""Docker's own nameserver is recognised, and a virtual address of Swarm's is said to be one."""

from pathlib import Path

import pytest

from resilience.discovery.docker import advice, embedded


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("nameserver 127.0.0.11\noptions ndots:0\n", True),
        ("search lan\nnameserver  127.0.0.11  # docker\n", True),
        ("nameserver 127.0.0.1\n", False),
        ("# nameserver 127.0.0.11\n", False),
        ("", False),
    ],
)
def test_the_resolvers_file_says_whose_it_is(tmp_path: Path, text: str, expected: bool) -> None:
    file = tmp_path / "resolv.conf"
    file.write_text(text, encoding="utf-8")
    assert embedded(file) is expected


def test_without_a_file_it_is_nobodys(tmp_path: Path) -> None:
    assert not embedded(tmp_path / "missing")


def test_what_is_said_of_a_single_address() -> None:
    assert advice("web", docker=True) == "; in Docker Swarm, tasks.web stands for every replica"
    assert advice("web", docker=False) == ""
    assert advice("tasks.web", docker=True) == ""
