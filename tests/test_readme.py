"""What the README shows works, and its commands are those that are checked."""

import re
import sys
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")


def fenced(language):
    return re.finditer(rf"^```{language}\n(.*?)^```$", README, flags=re.DOTALL | re.MULTILINE)


def code_by_section():
    sections = {}
    for block in fenced("python"):
        title = re.findall(r"^## (.*)$", README[: block.start()], flags=re.MULTILINE)[-1]
        # Empty lines before a block keep the README's line numbers in a traceback.
        line = README.count("\n", 0, block.start(1))
        code = compile("\n" * line + block[1], ROOT / "README.md", "exec")
        sections.setdefault(title, []).append(code)
    return [pytest.param(blocks, id=title) for title, blocks in sections.items()]


def check_print(*values):
    """Stand in for print: the comment behind the call says what it prints, or a bound for it."""
    line = README.splitlines()[sys._getframe(1).f_lineno - 1]
    _, _, shown = line.partition("  # ")
    if bound := re.search(r"(above|below) ([\d.]+)$", shown):
        last = np.asarray(values[-1])
        assert np.all(last > float(bound[2]) if bound[1] == "above" else last < float(bound[2]))
    elif shown:
        assert " ".join(map(str, values)) == shown


@pytest.mark.parametrize("blocks", code_by_section())
def test_code_of_a_section_runs_and_prints_what_is_shown(blocks, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    namespace = {"__name__": "readme", "print": check_print}
    for block in blocks:
        exec(block, namespace)
    assert not list(tmp_path.iterdir())  # whoever tries it finds no files about


@pytest.mark.parametrize(
    "line, printed",
    [("print(x)  # 36", 35), ("print(x)  # above 0.9", [0.95, 0.8]), ("print(x)  # below 1", 1)],
)
def test_output_that_differs_from_what_is_shown_is_found(line, printed, monkeypatch):
    monkeypatch.setitem(globals(), "README", line)
    with pytest.raises(AssertionError):
        exec(line, {"print": check_print, "x": printed})


def test_commands_are_those_that_ci_runs():
    run = (ROOT / ".ci" / "run").read_text(encoding="utf-8").splitlines()
    commands = [block[1].strip() for block in fenced("sh")]
    assert len(commands) == 2
    assert set(commands) <= set(run)
