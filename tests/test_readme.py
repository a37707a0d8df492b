"""What the README shows works, and its commands are those that are checked."""

import re
from pathlib import Path

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


@pytest.mark.parametrize("blocks", code_by_section())
def test_code_of_a_section_runs(blocks, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    namespace = {"__name__": "readme"}
    for block in blocks:
        exec(block, namespace)


def test_commands_are_those_that_ci_runs():
    run = (ROOT / ".ci" / "run").read_text(encoding="utf-8").splitlines()
    commands = [block[1].strip() for block in fenced("sh")]
    assert len(commands) == 2
    assert set(commands) <= set(run)
