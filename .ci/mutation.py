"""Mutation testing of the decisions: is every `<` that could be a `<=` told apart by some test?

mutmut changes one operator, number, name or argument at a time in the files that `.ci/decisions` lists, and
`.ci/mutants.py` runs the tests that come by there. A change that no test notices has survived. `tests/MUTATION.md`
lists the survivors with the reason of each; one that is not on the list, or a score below 90 %, fails.

    python .ci/mutation.py            everything
    python .ci/mutation.py --again    what survived the last time, against the tests as they are now
    python .ci/mutation.py --write    everything, and the list anew: reasons stay, what is new is "not judged yet"

The tests are those that run without sockets and processes, async ones on asyncio alone; Hypothesis searches with the
profile `mutation` of `tests/conftest.py`: the same examples each time, and no shrinking.
"""

from __future__ import annotations

import argparse
import ast
import difflib
import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
PLACE = ROOT / "out" / "mutation"
LIST = ROOT / "tests" / "MUTATION.md"
LEAST = 90.0
# A mutant meets all tests of its own file, and others while they take no longer than this in all, in seconds.
BUDGET = 2.0
# Properties that go by another name than the file they are about.
ABOUT = {
    "priorities": "spread",
    "queueing": "slots",
    "rate_limit": "bucket",
    "sampling": "balancing",
    "schedule": "balancing",
    "slots": "bulkhead",
    "throttle": "acceptance",
    "zones": "spread",
}
TESTS = [
    *(
        f"tests/{floor}"
        for floor in ("core", "policies", "balancing", "discovery", "health", "observe", "properties", "config")
    ),
    "tests/test_registry.py",
    *(f"tests/http/test_{name}.py" for name in ("classify", "failures", "routes")),
    "tests/server",
]
SOCKETS = ("auto", "dns", "docker", "lookup", "on_the_thread", "system")
PROCESSES = ("events_page", "silence", "what_a_client_writes")
# Thousands of packets, and three tiers of servers: too slow for every mutant, and about something else.
SLOW = [
    "discovery/test_answers.py::test_four_thousand_addresses",
    "discovery/test_answers.py::test_ten_thousand_mutated_packets_never_crash_and_never_empty_a_set_by_mistake",
    "server/test_asgi.py::test_three_tiers_do_not_multiply_their_attempts",
]
OPTIONS = [
    "--hypothesis-profile=mutation",
    "-qsknot trio",
    *("-pno:cacheprovider", "-pno:xdist", "-pno:cov", "-pmutants"),
    *(f"--ignore=tests/discovery/test_{name}.py" for name in SOCKETS),
    *(f"--ignore=tests/observe/test_{name}.py" for name in PROCESSES),
    *(f"--deselect=tests/{test}" for test in SLOW),
]
# How an error is put is wording, for people; that and when it is raised is a decision. A cast is for type checkers.
LEFT_ALONE = [r"raise [A-Za-z]*Error\(", r"\bwarnings\.warn\(", r"\bTypeVar\(", r"\bcast\("]
STRING = re.compile(r"""(?<!\w)f?(?:"(?:[^"\\\n]|\\.)*"|'(?:[^'\\\n]|\\.)*')""")

Mutant = dict[str, Any]


def decisions() -> list[str]:
    """Return the files that are mutated."""
    listed = re.sub(r"#.*", "", (ROOT / ".ci" / "decisions").read_text(encoding="utf-8")).split()
    return sorted(str(path.relative_to(ROOT)) for pattern in listed for path in ROOT.glob(pattern))


def lay_out() -> None:
    """Copy what is tested, and its tests, to where it can be changed."""
    PLACE.mkdir(parents=True, exist_ok=True)
    for name in ("resilience", "resilience_pytest", "tests", "docs"):
        shutil.rmtree(PLACE / name, ignore_errors=True)
        shutil.copytree(ROOT / name, PLACE / name, ignore=shutil.ignore_patterns("__pycache__"))
    settings = f'\n[tool.mutmut]\nsource_paths = ["resilience"]\ndo_not_mutate_patterns = {json.dumps(LEFT_ALONE)}\n'
    project = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    (PLACE / "pyproject.toml").write_text(project + settings, encoding="utf-8")
    os.chdir(PLACE)


def run_tests(**asked: object) -> None:
    """Run the tests under the plugin, which does what it is asked."""
    environment = {
        **os.environ,
        "PYTHONPATH": f"{PLACE}:{ROOT / '.ci'}",
        "PYTHONDONTWRITEBYTECODE": "1",
        "MUTATION": json.dumps(asked),
    }
    log = PLACE / "pytest.log"
    with log.open("w") as out:
        command = [sys.executable, "-m", "pytest", *OPTIONS, *TESTS]
        code = subprocess.run(command, cwd=PLACE, env=environment, stdout=out, stderr=out, check=False).returncode
    if code:
        sys.exit(log.read_text(encoding="utf-8")[-8000:])


def functions(source: str) -> dict[str, Any]:
    """Return each function at the top and each method, under the name that mutmut gives it."""
    found: dict[str, Any] = {}
    for node in ast.parse(source).body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            found[f"x_{node.name}"] = node
        elif isinstance(node, ast.ClassDef):
            methods = (it for it in node.body if isinstance(it, ast.FunctionDef | ast.AsyncFunctionDef))
            found |= {f"xǁ{node.name}ǁ{method.name}": method for method in methods}
    return found


def statement(function: Any, line: int) -> range:  # noqa: ANN401 - a function's node
    """Return the lines of the innermost statement around a line; of one with a body, those before it."""
    found = range(function.lineno, function.end_lineno + 1)
    for node in ast.walk(function):
        if not isinstance(node, ast.stmt) or node is function or not node.lineno <= line <= (node.end_lineno or 0):
            continue
        body = getattr(node, "body", None)
        if not isinstance(body, list):
            found = range(node.lineno, (node.end_lineno or 0) + 1)
        elif line < body[0].lineno:
            found = range(node.lineno, max(node.lineno + 1, body[0].lineno))
    return found


def is_wording(function: str, old: str, new: str) -> bool:
    """Tell whether a mutant changes only what people read: a sentence in a string, or how an object looks."""
    if function.endswith(("__repr__", "__str__")):
        return True
    # A string of several words is a sentence.
    old, new = (STRING.sub(lambda found: "…" if " " in found[0] else found[0], text) for text in (old, new))
    without = [
        old[: found.start()] + instead + old[found.end() :]
        for found in re.finditer("(?:, )?…", old)
        for instead in ("None", ", None", ", ")
    ]
    return old == new or new in without


def choose(tests: set[str], own: tuple[str, ...], seconds: dict[str, float]) -> list[str]:
    """Return the tests that a mutant meets, the shortest first."""
    chosen: list[str] = []
    spent = 0.0
    for test in sorted(tests, key=lambda test: (seconds[test], test)):
        mine = any(f"test_{name}" in test.partition("::")[0] for name in own)
        if mine or not chosen or spent + seconds[test] <= BUDGET:
            chosen.append(test)
            spent += 0.0 if mine else seconds[test]
    return chosen


def mutate(file: str, lines: dict[str, list[str]], seconds: dict[str, float]) -> list[Mutant]:
    """Write a file's mutants into its copy; return each one's name, what it changes, and its tests."""
    from mutmut.mutation.file_mutation import mutate_file_contents  # noqa: PLC0415 - reads its settings from here

    source = (ROOT / file).read_text(encoding="utf-8")
    made = mutate_file_contents(file, source)
    code = made.code.replace("from mutmut.mutation.trampoline import wrap_in_trampoline", "from mutants import switch")
    (PLACE / file).write_text(code, encoding="utf-8")
    text, nodes, spans = code.splitlines(), functions(source), made.line_span_by_function_name
    own = (Path(file).stem, ABOUT.get(Path(file).stem, Path(file).stem))
    plan: list[Mutant] = []
    for name in made.mutant_names:
        mangled = name.partition("__mutmut_")[0]
        node = nodes[mangled]
        old, new = (
            [line.replace(each, node.name) for line in text[spans[each].start - 1 : spans[each].end]]
            for each in (f"{mangled}__mutmut_orig", name)
        )
        function = re.sub(r"^x_|^xǁ", "", mangled).replace("ǁ", ".")
        diff = list(difflib.ndiff(old, new))
        before, after = (" ".join(line[1:].strip() for line in diff if line[0] == sign) for sign in "-+")
        if is_wording(function, before, after):
            continue
        first = next((at for at, pair in enumerate(zip(old, new, strict=False)) if pair[0] != pair[1]), 0)
        above = next(at for at, line in enumerate(old) if re.match(r"\s*(async )?def ", line))
        around = statement(node, node.lineno + first - above)
        tests = choose({test for line in around for test in lines.get(str(line), ())}, own, seconds)
        plan.append({
            "name": f"{file[:-3].replace('/', '.')}.{name}",
            "told": f"- `{function}`: `{before}` → `{after}`",
            "file": file,
            "function": function,
            "old": before,
            "new": after,
            "tests": tests,
            "seconds": sum(seconds[test] for test in tests),
        })  # fmt: skip
    return plan


def listed() -> dict[tuple[str, str], str]:
    """Return the reason of each survivor on the list, by its file and what it changes."""
    found: dict[tuple[str, str], str] = {}
    file = ""
    for line in LIST.read_text(encoding="utf-8").splitlines() if LIST.exists() else ():
        if line.startswith("### "):
            file = line[4:]
        elif line.startswith("- `"):
            told, _, reason = line.rpartition(" — ")
            found[file, told] = reason
    return found


def write(survivors: list[Mutant], told: str) -> None:
    """Write the list anew below its introduction: reasons stay."""
    known = listed()
    introduction = LIST.read_text(encoding="utf-8").partition("\n## ")[0] if LIST.exists() else "# Mutants\n"
    lines = [introduction.rstrip(), "", "## The last run", "", told, "", "## Survivors"]
    for file in sorted({mutant["file"] for mutant in survivors}):
        lines += ["", f"### {file}", ""]
        entries = dict.fromkeys(mutant["told"] for mutant in survivors if mutant["file"] == file)
        lines += [f"{entry} — {known.get((file, entry), 'not judged yet')}" for entry in entries]
    LIST.write_text("\n".join(lines) + "\n", encoding="utf-8")


def main() -> int:
    """Make the mutants, run the tests, and compare with the list."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--again", action="store_true")
    parser.add_argument("--write", action="store_true")
    parser.add_argument("--processes", type=int, default=os.cpu_count())
    asked = parser.parse_args()
    begun = time.monotonic()
    results, notes, todo = PLACE / "results", PLACE / "notes.json", PLACE / "todo.json"
    known = results.read_text(encoding="utf-8").splitlines() if results.exists() and asked.again else ()
    done = {name: status for name, status in map(str.split, known) if status in {"killed", "timeout"}}
    before = json.loads((PLACE / "plan.json").read_text(encoding="utf-8")) if done else []
    same = {one["name"]: one["told"] for one in before}
    lay_out()
    print("Which tests come by which line …", flush=True)
    run_tests(watched=[str(PLACE / file) for file in decisions()], notes=str(notes))
    noted = json.loads(notes.read_text(encoding="utf-8"))
    plan = [one for file in decisions() for one in mutate(file, noted["lines"].get(file, {}), noted["seconds"])]
    (PLACE / "plan.json").write_text(json.dumps(plan), encoding="utf-8")
    done = {
        one["name"]: done[one["name"]] if one["tests"] else "uncovered"
        for one in plan
        if not one["tests"] or (one["name"] in done and same.get(one["name"]) == one["told"])
    }
    results.write_text("".join(f"{name} {status}\n" for name, status in done.items()), encoding="utf-8")
    left = sorted((one for one in plan if one["name"] not in done), key=lambda one: one["seconds"])
    todo.write_text(json.dumps(left), encoding="utf-8")
    print(f"{len(left)} of {len(plan)} mutants …", flush=True)
    run_tests(plan=str(todo), results=str(results), processes=asked.processes)
    statuses = dict(map(str.split, results.read_text(encoding="utf-8").splitlines()))
    count = Counter(statuses.values())
    survivors = [one for one in plan if statuses[one["name"]] in {"survived", "uncovered"}]
    score = 100.0 * (1.0 - len(survivors) / len(plan))
    killed = count["killed"] + count["crashed"]
    told = (
        f"{score:.1f} %: of {len(plan)} mutants {killed} were killed and {count['timeout']} hung; "
        f"{len(survivors)} survived, {count['uncovered']} of them where no test comes by. "
        f"{(time.monotonic() - begun) / 60:.0f} minutes with {asked.processes} processes."
    )
    print(told)
    if asked.write:
        write(survivors, told)
    reasons = listed()
    new = [one for one in survivors if (one["file"], one["told"]) not in reasons]
    for one in new:
        print(f"not on the list: {one['name']}\n{one['told']}")
    return bool(new) or score < LEAST


if __name__ == "__main__":
    sys.exit(main())
