"""Mutation testing of the decisions: is every `<` that could be a `<=` told apart by some test?

mutmut changes one operator, number, name or argument at a time in the files that `.ci/decisions` lists; `.ci/mutants.py`
runs the tests that come by there. A change that no test notices has survived. `docs/mutation.md` lists the survivors with
the reason of each; one that is not on the list, or a score below 90 %, fails.

    python .ci/mutation.py            everything
    python .ci/mutation.py --again    what has survived the last time once more, against the tests as they are now
    python .ci/mutation.py NAME …     files whose path contains this alone

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

ROOT = Path(__file__).resolve().parent.parent
PLACE = ROOT / "out" / "mutation"
LIST = ROOT / "docs" / "mutation.md"
LEAST = 90.0
# A mutant meets all tests of its own file, and others while they take no longer than this in all, in seconds.
BUDGET = 2.0
# Properties that go by another name than the file they are about.
ABOUT = {
    "priorities": "spread",
    "queueing": "slots",
    "rate_limit": "bucket",
    "sampling": "balancing",
    "slots": "bulkhead",
    "schedule": "balancing",
    "throttle": "acceptance",
    "zones": "spread",
}

TESTS = [
    *(f"tests/{floor}" for floor in ("core", "policies", "balancing", "discovery", "health", "observe", "properties")),
    *(f"tests/http/test_{name}.py" for name in ("classify", "failures", "routes")),
    "tests/server",
]
OPTIONS = [
    "--hypothesis-profile=mutation",
    "-qsknot trio",
    *("-pno:cacheprovider", "-pno:xdist", "-pno:cov", "-pmutants"),
    *(
        f"--ignore=tests/discovery/test_{name}.py"
        for name in ("auto", "dns", "docker", "lookup", "on_the_thread", "system")
    ),
    # Processes, threads by the dozen and thousands of packets: too slow for every mutant, and about something else.
    *(f"--ignore=tests/observe/test_{name}.py" for name in ("events_page", "silence", "what_a_client_writes")),
    "--deselect=tests/discovery/test_answers.py::test_four_thousand_addresses",
    "--deselect=tests/discovery/test_answers.py::test_ten_thousand_mutated_packets_never_crash_and_never_empty_a_set_by_mistake",
    "--deselect=tests/server/test_asgi.py::test_three_tiers_do_not_multiply_their_attempts",
]
# Wording, for people, and types: what is raised and when is a decision, how it is put is not.
LEFT_ALONE = [
    r"raise [A-Za-z]*Error\(",
    r"\bwarnings\.warn\(",
    r"\bTypeVar\(",
    r"\bcast\(",
]
_STRING = re.compile(r"""(?<!\w)f?(?:"(?:[^"\\\n]|\\.)*"|'(?:[^'\\\n]|\\.)*')""")


def _decisions() -> list[str]:
    listed = re.sub(r"#.*", "", (ROOT / ".ci" / "decisions").read_text(encoding="utf-8")).split()
    return sorted(str(path.relative_to(ROOT)) for pattern in listed for path in ROOT.glob(pattern))


def _lay_out() -> None:
    PLACE.mkdir(parents=True, exist_ok=True)
    for name in ("resilience", "resilience_pytest", "tests"):
        shutil.rmtree(PLACE / name, ignore_errors=True)
        shutil.copytree(ROOT / name, PLACE / name, ignore=shutil.ignore_patterns("__pycache__"))
    settings = f'\n[tool.mutmut]\nsource_paths = ["resilience"]\ndo_not_mutate_patterns = {json.dumps(LEFT_ALONE)}\n'
    project = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    (PLACE / "pyproject.toml").write_text(project + settings, encoding="utf-8")


def _pytest(**asked: object) -> None:
    environment = {
        **os.environ,
        "PYTHONPATH": f"{PLACE}:{ROOT / '.ci'}",
        "PYTHONDONTWRITEBYTECODE": "1",
        "MUTATION": json.dumps(asked),
    }
    with (PLACE / "pytest.log").open("w") as log:
        code = subprocess.run(
            [sys.executable, "-m", "pytest", *OPTIONS, *TESTS], cwd=PLACE, env=environment, stdout=log, stderr=log
        ).returncode
    if code:
        sys.exit((PLACE / "pytest.log").read_text(encoding="utf-8")[-8000:])


def _functions(source: str) -> dict[str, ast.FunctionDef | ast.AsyncFunctionDef]:
    """Each function at the top and each method, as mutmut mangles its name."""
    found = {}
    for node in ast.parse(source).body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            found[f"x_{node.name}"] = node
        elif isinstance(node, ast.ClassDef):
            for method in node.body:
                if isinstance(method, ast.FunctionDef | ast.AsyncFunctionDef):
                    found[f"xǁ{node.name}ǁ{method.name}"] = method
    return found


def _statement(function: ast.AST, line: int) -> range:
    """The lines of the innermost statement around a line; of one with a body, those before it."""
    found = range(function.lineno, function.end_lineno + 1)
    for node in ast.walk(function):
        if isinstance(node, ast.stmt) and node is not function and node.lineno <= line <= node.end_lineno:
            body = getattr(node, "body", None)
            if not isinstance(body, list):
                found = range(node.lineno, node.end_lineno + 1)
            elif line < body[0].lineno:
                found = range(node.lineno, max(node.lineno + 1, body[0].lineno))
    return found


def _wording(function: str, old: str, new: str) -> bool:
    """Whether a mutant changes only what people read: a sentence in a string, or how an object looks."""
    if function.endswith(("__repr__", "__str__")):
        return True
    # A string of several words is a sentence.
    old, new = (_STRING.sub(lambda found: "…" if " " in found[0] else found[0], text) for text in (old, new))
    without = [
        old[: found.start()] + instead + old[found.end() :]
        for found in re.finditer("(?:, )?…", old)
        for instead in ("None", ", None", ", ")
    ]
    return old == new or new in without


def _mutate(file: str, lines: dict[str, list[str]], seconds: dict[str, float]) -> list[dict[str, object]]:
    """Write a file's mutants into its copy; return each one's name, what it changes, and its tests."""
    from mutmut.mutation.file_mutation import mutate_file_contents

    source = (ROOT / file).read_text(encoding="utf-8")
    mutated = mutate_file_contents(file, source)
    code = mutated.code.replace(
        "from mutmut.mutation.trampoline import wrap_in_trampoline", "from mutants import switch"
    )
    (PLACE / file).write_text(code, encoding="utf-8")
    text = code.splitlines()
    functions = _functions(source)
    own = (Path(file).stem, ABOUT.get(Path(file).stem, Path(file).stem))
    plan = []
    for name in mutated.mutant_names:
        function_name = name.partition("__mutmut_")[0]
        spans = mutated.line_span_by_function_name
        old, new = (
            [line.replace(mangled, functions[function_name].name) for line in text[span.start - 1 : span.end]]
            for mangled, span in ((each, spans[each]) for each in (f"{function_name}__mutmut_orig", name))
        )
        first = next((i for i, pair in enumerate(zip(old, new, strict=False)) if pair[0] != pair[1]), 0)
        above = next(i for i, line in enumerate(old) if re.match(r"\s*(async )?def ", line))
        around = _statement(functions[function_name], functions[function_name].lineno + first - above)
        tests = sorted({test for line in around for test in lines.get(str(line), ())}, key=seconds.__getitem__)
        chosen, spent, others = [], 0.0, 0.0
        for test in tests:
            mine = any(f"test_{name}" in test.partition("::")[0] for name in own)
            if mine or not chosen or others + seconds[test] <= BUDGET:
                chosen.append(test)
                spent += seconds[test]
                others += 0.0 if mine else seconds[test]
        chosen.sort(key=seconds.__getitem__)
        changed = [line for line in difflib.ndiff(old, new) if line[0] in "-+"]
        before, after = (" ".join(line[1:].strip() for line in changed if line[0] == sign) for sign in "-+")
        function = re.sub(r"^x_|^xǁ", "", function_name).replace("ǁ", ".")
        if _wording(function, before, after):
            continue
        plan.append({
            "name": f"{file[:-3].replace('/', '.')}.{name}",
            "file": file,
            "function": function,
            "old": before,
            "new": after,
            "tests": chosen,
            "seconds": spent,
        })  # fmt: skip
    return plan


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--again", action="store_true")
    parser.add_argument("--on", action="store_true")
    parser.add_argument("--same-tests", action="store_true")
    parser.add_argument("--processes", type=int, default=os.cpu_count())
    parser.add_argument("files", nargs="*")
    asked = parser.parse_args()
    begun = time.monotonic()
    results = PLACE / "results"
    statuses = (
        dict(line.split() for line in results.read_text().splitlines())
        if results.exists() and (asked.again or asked.on)
        else {}
    )
    _lay_out()
    files = [file for file in _decisions() if not asked.files or any(part in file for part in asked.files)]
    print("Which tests come by which line …", flush=True)
    notes = PLACE / "notes.json"
    if not asked.same_tests:
        _pytest(watched=[str(PLACE / file) for file in _decisions()], notes=str(notes))
    noted = json.loads(notes.read_text(encoding="utf-8"))
    print(f"… {time.monotonic() - begun:.0f} s. Mutants …", flush=True)
    os.chdir(PLACE)
    plan = [mutant for file in files for mutant in _mutate(file, noted["lines"].get(file, {}), noted["seconds"])]
    (PLACE / "plan.json").write_text(json.dumps(plan), encoding="utf-8")
    kept = {"killed", "timeout", "survived"} if asked.on else {"killed", "timeout"}
    done = {mutant["name"]: statuses.get(mutant["name"]) if mutant["tests"] else "uncovered" for mutant in plan}
    done = {name: status for name, status in done.items() if status in {"uncovered", *kept}}
    results.write_text("".join(f"{name} {status}\n" for name, status in done.items()), encoding="utf-8")
    todo = sorted((mutant for mutant in plan if mutant["name"] not in done), key=lambda mutant: mutant["seconds"])
    (PLACE / "todo.json").write_text(json.dumps(todo), encoding="utf-8")
    print(f"… {time.monotonic() - begun:.0f} s. {len(plan)} mutants, {len(todo)} to run …", flush=True)
    _pytest(plan=str(PLACE / "todo.json"), results=str(results), processes=asked.processes)
    statuses = dict(line.split() for line in results.read_text().splitlines())
    count = Counter(statuses.values())
    score = 100.0 * (len(plan) - count["survived"] - count["uncovered"]) / len(plan)
    print(dict(count), f"{score:.1f} %", f"{time.monotonic() - begun:.0f} s")
    return score < LEAST


if __name__ == "__main__":
    sys.exit(main())
