import subprocess
import sys

import skkeras


def test_the_root_is_a_table_of_contents():
    assert set(skkeras.__all__) == {
        "KerasClassifier",
        "KerasForecaster",
        "KerasRegressor",
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
