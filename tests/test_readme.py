"""What the README shows works, and its commands are those that are checked."""

import re
import sys
from pathlib import Path

import numpy as np
import pytest
from sklearn.datasets import load_iris
from sklearn.utils.validation import check_is_fitted

from skkeras import KerasClassifier

# Coverage is measured elsewhere, as in engine/test_parity.py.
pytestmark = pytest.mark.no_cover

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
    elif shown and not shown.startswith("such as"):
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


def scikeras_builder(meta, compile_kwargs, hidden=4):
    import keras

    net = keras.Sequential(
        [
            keras.Input((meta["n_features_in_"],)),
            keras.layers.Dense(hidden, activation="relu"),
            keras.layers.Dense(meta["n_classes_"], activation="softmax"),
        ]
    )
    net.compile(**compile_kwargs)
    return net


@pytest.mark.parametrize(
    "parameters",
    [
        {"model__hidden": 5},
        {"validation_split": 0.2, "fit__validation_batch_size": 8},
        {"compile__run_eagerly": True},
        {"batch_size": 1_000_000},
    ],
    ids=lambda parameters: list(parameters)[-1],
)
def test_builders_for_scikeras_and_what_replaces_its_parameters_work(parameters):
    X, y = load_iris(return_X_y=True)
    net = KerasClassifier(scikeras_builder, epochs=2, **parameters).fit(X, y)
    check_is_fitted(net)
    assert (len(net.classes_), net.n_iter_, net.model_.input_shape) == (3, 2, (None, 4))


def test_schedule_is_given_as_an_instance():
    import keras

    X, y = load_iris(return_X_y=True)
    schedule = keras.optimizers.schedules.CosineDecay(0.01, 1000)
    net = KerasClassifier(epochs=1, optimizer__learning_rate=schedule).fit(X, y)
    assert net.model_.optimizer.get_config()["learning_rate"]["class_name"] == "CosineDecay"


@pytest.mark.parametrize(
    "parameters",
    [
        {"hidden": 5},
        {"build_fn": scikeras_builder},
        {"validation_batch_size": 8},
        {"run_eagerly": True},
        {"fit__validation_split": 0.2},
        {"fit__callbacks": []},
        {"fit__class_weight": {0: 2}},
        {"batch_size": -1},
    ],
    ids=lambda parameters: list(parameters)[-1],
)
def test_what_the_table_for_scikeras_replaces_is_refused(parameters):
    X, y = load_iris(return_X_y=True)
    with pytest.raises((TypeError, ValueError)):
        KerasClassifier(epochs=1, **parameters).fit(X, y)


def test_commands_are_those_that_ci_runs():
    run = (ROOT / ".ci" / "run").read_text(encoding="utf-8").splitlines()
    commands = [block[1].strip() for block in fenced("sh")]
    assert len(commands) == 2
    assert set(commands) <= set(run)
