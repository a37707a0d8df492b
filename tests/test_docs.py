"""Code and links of README.md and docs/ work, commands are those of CI, names have pages."""

import importlib
import inspect
import re
import sys
from pathlib import Path

import numpy as np
import pytest

# Coverage is measured elsewhere, as in engine/test_parity.py.
pytestmark = pytest.mark.no_cover

ROOT = Path(__file__).parent.parent
README = ROOT / "README.md"
# Backwards, since a page of about/ clears the programs that the others share.
PAGES = [README, *sorted(ROOT.glob("docs/**/*.md"), reverse=True)]
PUBLIC_MODULES = ["data", "exceptions", "forecasting", "models", "saving"]


def name_of(page):
    return page.relative_to(ROOT).as_posix()


def fenced(language, page):
    text = page.read_text(encoding="utf-8")
    pattern = rf"^```{language}\n(.*?)^```$"
    for block in re.finditer(pattern, text, flags=re.DOTALL | re.MULTILINE):
        yield text.count("\n", 0, block.start(1)), block[1]


def code_by_page():
    pages = {page: list(fenced("python", page)) for page in PAGES}
    return [
        pytest.param(page, blocks, id=name_of(page)) for page, blocks in pages.items() if blocks
    ]


def check_print(*values):
    """Stand in for print: the comment behind the call says what it prints, or a bound for it."""
    caller = sys._getframe(1)
    page = Path(caller.f_code.co_filename).read_text(encoding="utf-8")
    _, _, shown = page.splitlines()[caller.f_lineno - 1].partition("  # ")
    if bound := re.search(r"(above|below) ([\d.]+)$", shown):
        last = np.asarray(values[-1])
        assert np.all(last > float(bound[2]) if bound[1] == "above" else last < float(bound[2]))
    elif shown and not shown.startswith("such as"):
        assert " ".join(map(str, values)) == shown


@pytest.mark.parametrize("page, blocks", code_by_page())
def test_code_of_a_page_runs_and_prints_what_is_shown(page, blocks, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    namespace = {"__name__": "page", "print": check_print}
    if any("from sklearn.callback" in code for _, code in blocks):
        pytest.importorskip("sklearn.callback", reason="scikit-learn before 1.9 has none")
    for n_before, code in blocks:
        # Empty lines before it keep the page's line numbers in a traceback.
        exec(compile("\n" * n_before + code, page, "exec"), namespace)
    assert not list(tmp_path.iterdir())  # whoever tries it finds no files about


@pytest.mark.parametrize(
    "line, printed",
    [("print(x)  # 36", 35), ("print(x)  # above 0.9", [0.95, 0.8]), ("print(x)  # below 1", 1)],
)
def test_output_that_differs_from_what_is_shown_is_found(line, printed, tmp_path):
    page = tmp_path / "page.md"
    page.write_text(line, encoding="utf-8")
    with pytest.raises(AssertionError):
        exec(compile(line, page, "exec"), {"print": check_print, "x": printed})


def headings(page):
    """The anchors of a page's headings, as GitHub and MyST make them."""
    text = re.sub(r"^```.*?^```$", "", page.read_text(encoding="utf-8"), flags=re.DOTALL | re.M)
    titles = re.findall(r"^#+ (.*)$", text, flags=re.MULTILINE)
    return {re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in titles}


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_links_between_pages_lead_to_files_and_headings(page):
    text = re.sub(r"^```.*?^```$", "", page.read_text(encoding="utf-8"), flags=re.DOTALL | re.M)
    for link in re.findall(r"\]\((?!https?:)([^)\s]+)\)", text):
        file, _, anchor = link.partition("#")
        target = (page.parent / file).resolve() if file else page
        assert target.exists(), link
        assert not anchor or anchor in headings(target), link
    for file in re.findall(r"\btests/[\w/]+\.py\b", text):
        assert (ROOT / file).exists(), file


def public_names():
    names = {f"skkeras.{name}" for name in importlib.import_module("skkeras").__all__}
    for module in (importlib.import_module(f"skkeras.{name}") for name in PUBLIC_MODULES):
        own = [
            n for n, v in vars(module).items() if getattr(v, "__module__", None) == module.__name__
        ]
        listed = getattr(module, "__all__", [name for name in own if not name.startswith("_")])
        names |= {f"{module.__name__}.{name}" for name in listed}
    # Modules have sections, and what is in skkeras itself has its page there.
    names = {name for name in names if not inspect.ismodule(value_of(name))}
    return {n for n in names if n.count(".") == 1 or f"skkeras.{n.split('.')[-1]}" not in names}


def value_of(name):
    module, _, attribute = name.rpartition(".")
    return getattr(importlib.import_module(module), attribute)


def test_api_reference_has_a_page_for_every_public_name():
    module, listed = None, []
    for line in (ROOT / "docs" / "api" / "index.rst").read_text(encoding="utf-8").splitlines():
        if line.startswith(".. module:: "):
            module = line.split()[-1]
        elif re.fullmatch(r"   \w+", line):
            listed.append(f"{module}.{line.strip()}")
    assert sorted(listed) == sorted(public_names())


def test_readme_is_one_page():
    assert len(README.read_bytes()) <= 8 * 1024


def test_commands_are_those_that_ci_runs():
    run = (ROOT / ".ci" / "run").read_text(encoding="utf-8").splitlines()
    commands = [code.strip() for _, code in fenced("sh", README)]
    assert len(commands) == 3
    assert set(commands) <= set(run)
    install = [code.strip() for _, code in fenced("sh", ROOT / "docs" / "install.md")]
    assert install == commands
