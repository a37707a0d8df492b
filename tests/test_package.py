import ast
import json
import re
import subprocess
import sys
from pathlib import Path

import skkeras

ROOT = Path(__file__).parents[1]


def test_the_root_is_a_table_of_contents():
    assert set(skkeras.__all__) == {
        "DummyForecaster",
        "KerasClassifier",
        "KerasForecaster",
        "KerasRegressor",
        "cache_info",
        "clear_cache",
        "data",
        "forecast_scorer",
        "models",
    }
    assert all(hasattr(skkeras, name) for name in skkeras.__all__)


def test_importing_does_not_import_tensorflow_or_keras():
    code = "import sys, skkeras; print({'tensorflow', 'keras'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


def test_constructing_and_cloning_does_not_import_tensorflow():
    code = (
        "import sys; from sklearn.base import clone; from skkeras import KerasClassifier;"
        "clone(KerasClassifier(optimizer='sgd', model__units=3)).set_params(model__units=4);"
        "print('tensorflow' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def sources():
    return sorted(Path(skkeras.__file__).parent.rglob("*.py"))


def test_no_file_is_longer_than_500_lines():
    lengths = {path.name: len(path.read_text().splitlines()) for path in sources()}
    assert {name for name, length in lengths.items() if length > 500} <= {"models.py"}


def test_no_class_has_more_than_25_methods_of_its_own():
    for path in sources():
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ClassDef):
                methods = [one for one in node.body if isinstance(one, ast.FunctionDef)]
                assert len(methods) <= 25, f"{path.name}: {node.name}"


def test_a_fit_and_a_prediction_enter_few_files_and_seldom_climb_back():
    script = str(ROOT / "tests" / "benchmarks" / "files_entered.py")
    done = subprocess.run([sys.executable, script], capture_output=True, text=True, check=True)
    counted = json.loads(done.stdout)
    fit, predict = counted["fit"], counted["predict"]
    assert (fit["base entered"], predict["base entered"]) == (1, 1)
    assert fit["files"] <= 20, fit["names"]
    assert predict["files"] <= 10, predict["names"]
    assert fit["climbs"] <= 7
    assert predict["climbs"] <= 1


def test_the_citation_names_this_version():
    assert f"\nversion: {skkeras.__version__}\n" in (ROOT / "CITATION.cff").read_text()


def test_a_commit_checks_what_ci_checks():
    hooks = re.findall(r"entry: (.*)", (ROOT / ".pre-commit-config.yaml").read_text())
    ci = (ROOT / ".ci" / "run").read_text()
    assert len(hooks) == 4
    assert [hook for hook in hooks if hook.removesuffix(" --no-logo") not in ci] == []
