"""``python -m skkeras`` does the main job, and behaves as a command should."""

import importlib.util
import os
import subprocess
import sys

import numpy as np
import pytest
from sklearn.dummy import DummyRegressor

from skkeras import __main__ as command


class Unimportable(DummyRegressor):
    """A class that a process without this file cannot load."""


def run_command(*arguments):
    environment = {k: v for k, v in os.environ.items() if k != "TF_CPP_MIN_LOG_LEVEL"}
    return subprocess.run(
        [sys.executable, "-m", "skkeras", *arguments],
        capture_output=True,
        text=True,
        env=environment,
        stdin=subprocess.DEVNULL,
    )


def children_seconds():
    times = os.times()
    return times.children_user + times.children_system


def raising(error):
    def job():
        raise error

    return job


@pytest.mark.parametrize(
    "arguments, scored, lowest",
    [
        ([], "accuracy", 0.93),
        pytest.param(["regression"], "R2", 0.25, marks=pytest.mark.slow),
        pytest.param(["images"], "accuracy", 0.97, marks=pytest.mark.slow),
        pytest.param(["forecast"], "R2", 0.85, marks=pytest.mark.slow),
    ],
)
def test_job_searches_compares_and_saves(arguments, scored, lowest):
    seconds = children_seconds()
    process = run_command(*arguments)
    assert process.returncode == 0, process.stderr
    assert process.stderr == ""
    has_callbacks = importlib.util.find_spec("sklearn.callback") is not None
    assert ("GridSearchCV - fit" if has_callbacks else "Fitting 3 folds") in process.stdout
    assert f"Candidates, {scored} over 3 folds" in process.stdout
    assert "all identical" in process.stdout
    scores = process.stdout.split(f"Test {scored}:")[1].split()
    assert float(scores[0]) > lowest
    # Of the processors, so that a busy machine doesn't count; two idle ones take less by the clock.
    assert children_seconds() - seconds < 60


def test_help_lists_what_it_can_show(capsys):
    with pytest.raises(SystemExit) as stop:
        command.main(["--help"])
    assert stop.value.code == 0
    text = capsys.readouterr().out
    assert all(f"{name}  " in text for name in command.JOBS)


def test_unknown_job_is_a_usage_error():
    process = run_command("clasify")
    assert process.returncode == 2
    assert process.stdout == ""
    assert "invalid choice: 'clasify'" in process.stderr


def test_failure_is_one_line_on_stderr(monkeypatch, capsys):
    monkeypatch.setitem(command.JOBS, "classify", raising(ValueError("first line\nsecond line")))
    monkeypatch.setenv("TF_CPP_MIN_LOG_LEVEL", "3")
    assert command.main([]) == 1
    assert capsys.readouterr().err == "skkeras: ValueError: first line\n"


def test_interruption_is_told_without_a_traceback(monkeypatch, capsys):
    monkeypatch.setitem(command.JOBS, "classify", raising(KeyboardInterrupt))
    monkeypatch.setenv("TF_CPP_MIN_LOG_LEVEL", "3")
    assert command.main([]) == 130
    assert capsys.readouterr().err == "skkeras: interrupted\n"


def test_reader_that_goes_away_is_no_traceback():
    command_line = f"{sys.executable} -m skkeras | true; exit ${{PIPESTATUS[0]}}"
    process = subprocess.run(["bash", "-c", command_line], capture_output=True, text=True)
    assert process.returncode == 1
    assert process.stderr == ""


def test_predictions_that_changed_are_noticed(monkeypatch):
    X = np.arange(4.0).reshape(-1, 1)
    estimator = DummyRegressor().fit(X, X.ravel())
    assert command.check_saving(estimator, X) > 0
    monkeypatch.setattr(DummyRegressor, "predict", lambda self, X: np.zeros(len(X)))
    with pytest.raises(RuntimeError, match="predicts differently"):
        command.check_saving(estimator, X)


def test_file_that_cannot_be_loaded_is_noticed():
    X = np.arange(4.0).reshape(-1, 1)
    with pytest.raises(RuntimeError, match="failed in a new process: ModuleNotFoundError"):
        command.check_saving(Unimportable().fit(X, X.ravel()), X)


def test_candidates_are_listed_best_first():
    table = command.format_candidates(
        {
            "rank_test_score": np.array([2, 1]),
            "mean_test_score": np.array([0.5, 0.75]),
            "std_test_score": np.array([0.125, 0.25]),
            "mean_fit_time": np.array([1.0, 2.0]),
            "params": [{"net__model__units": 8}, {"net__model__units": (16, 8)}],
        }
    )
    assert table.splitlines()[1:] == [
        "  0.750  0.250    2.00 s  model__units=(16, 8)",
        "  0.500  0.125    1.00 s  model__units=8",
    ]
