"""Several named inputs of the same samples, which scikit-learn can split."""

import reprlib

import numpy as np
from scipy.sparse import issparse
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.utils import check_consistent_length
from sklearn.utils.validation import check_is_fitted, validate_data

from skkeras._dataframes import column_numbers, kind_of, names_of
from skkeras.data._selection import is_number


class NamedArrays:
    """Inputs by name, for nets with several, that scikit-learn can split by samples.

    scikit-learn takes a dict for a list of its keys. This is a dict of arrays that is
    as long as its arrays: a slice, an int array or a mask chooses samples of all of them, and a
    name chooses an array. So it goes through ``train_test_split``, ``cross_val_score``,
    ``GridSearchCV`` and the like.

    Parameters
    ----------
    arrays : dict of array-likes
        The inputs, samples first: arrays, sparse matrices, lists of strings, columns of a
        DataFrame, lazy arrays. Arrays aren't copied.

    Attributes
    ----------
    shape : tuple of int
        ``(n_samples,)``.

    Raises
    ------
    TypeError
        If ``arrays`` is no dict, or a name is no string.
    ValueError
        If there are no arrays, or they have different numbers of samples.

    See Also
    --------
    ColumnsToInputs : Makes one of a DataFrame.

    Examples
    --------
    >>> import numpy as np
    >>> from skkeras.data import NamedArrays
    >>> X = NamedArrays({"image": np.zeros((6, 8, 8)), "age": np.arange(6.0)})
    >>> X[[4, 5]]
    NamedArrays(2 samples: image (8, 8) float64, age () float64)
    >>> X["age"]
    array([0., 1., 2., 3., 4., 5.])
    >>> from sklearn.model_selection import train_test_split
    >>> train, test = train_test_split(X, random_state=0)
    >>> len(train), len(test)
    (4, 2)
    """

    __module__ = "skkeras.data"  # the path in pickles, and where users import it from

    __iter__ = None  # samples or names? Either would surprise somebody.

    def __init__(self, arrays):
        if not isinstance(arrays, dict) or issparse(arrays):
            raise TypeError(
                f"Got arrays of type {type(arrays).__name__}; expected a dict of arrays by name, "
                "such as NamedArrays({'image': images, 'age': ages})."
            )
        if not arrays:
            raise ValueError("Got arrays={}; expected at least one array.")
        for name in arrays:
            if not isinstance(name, str):
                raise TypeError(f"Got arrays with the name {name!r}; expected strings.")
        self._arrays = {name: _sliceable(array, name) for name, array in arrays.items()}
        check_consistent_length(*self._arrays.values())

    @property
    def shape(self):
        """The number of samples, as a tuple."""
        return (next(iter(self._arrays.values())).shape[0],)

    @property
    def ndim(self):
        """1: the only axis that all arrays share."""
        return 1

    def keys(self):
        """Return the names, as a dict does."""
        return self._arrays.keys()

    def values(self):
        """Return the arrays, as a dict does."""
        return self._arrays.values()

    def items(self):
        """Return pairs of names and arrays, as a dict does."""
        return self._arrays.items()

    def __len__(self):
        return self.shape[0]

    def __contains__(self, name):
        return name in self._arrays

    def __getitem__(self, key):
        if isinstance(key, str):
            if key not in self._arrays:
                raise KeyError(f"Got the name {key!r}; expected one of {list(self._arrays)}.")
            return self._arrays[key]
        if isinstance(key, tuple) and len(key) == 2 and key[1] is Ellipsis:
            key = key[0]  # as scikit-learn indexes objects with a shape
        if isinstance(key, list):
            key = np.asarray(key, dtype=None if key else int)
        is_one = is_number(key)
        if not is_one and not isinstance(key, slice) and getattr(key, "ndim", 0) != 1:
            raise IndexError(
                f"Got the index {reprlib.repr(key)}; expected a name, or samples: an int, a slice, "
                "an int array or a mask."
            )
        chosen = {name: array[key] for name, array in self._arrays.items()}
        return chosen if is_one else NamedArrays(chosen)

    def __array__(self, dtype=None, copy=None):
        return _as_objects(self, dtype, lambda: [_Sample(self, i) for i in range(len(self))])

    def __repr__(self):
        parts = [f"{name} {array.shape[1:]} {array.dtype}" for name, array in self.items()]
        return f"NamedArrays({len(self)} samples: {', '.join(parts)})"


class NamedOutputs(dict):
    """Results by output's name: a dict that NumPy concatenates, and whose rows can be picked.

    So `sklearn.model_selection.cross_val_predict` puts the predictions of folds together.

    Examples
    --------
    >>> import numpy as np
    >>> from skkeras.data._named import NamedOutputs
    >>> halves = [NamedOutputs(a=np.arange(2), b=np.zeros((2, 3))) for _ in range(2)]
    >>> np.concatenate(halves)[[3, 0]]["a"]
    array([1, 0])
    """

    def __getitem__(self, key):
        if isinstance(key, slice | np.ndarray | list):
            return NamedOutputs({name: rows[key] for name, rows in self.items()})
        return super().__getitem__(key)

    def __array__(self, dtype=None, copy=None):
        return _as_objects(self, dtype, lambda: [*self.values()])

    def __array_function__(self, function, types, args, kwargs):
        if function is not np.concatenate or not all(isinstance(p, NamedOutputs) for p in args[0]):
            return NotImplemented
        parts = args[0]
        return NamedOutputs(
            {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
        )


class _SeveralArraysError(TypeError, ValueError):
    """Several arrays where one is expected; scikit-learn asks for objects after a ValueError."""


def _as_objects(named, dtype, list_values):
    """Return an array of objects where that is asked for; numbers it can't be."""
    if np.dtype(dtype).kind != "O":  # of None, float64
        raise _SeveralArraysError(
            f"Got {type(named).__name__} with {list(named.keys())}, which are several arrays, "
            "where one is expected. Take one by its name, as in X['name'], or use an estimator "
            "with several inputs. Of scikit-learn's functions, those that read the whole y take "
            "one alone: cross_val_predict with several outputs has method='predict', and scoring "
            "a function of the two dicts, by make_scorer."
        )
    values = list_values()
    array = np.empty(len(values), object)
    array[:] = values
    return array


class _Sample:
    """A sample of several arrays, which is read when a part of it is wanted."""

    __slots__ = ("_arrays", "_number")

    def __init__(self, arrays, number):
        self._arrays, self._number = arrays, number

    def __getitem__(self, name):
        return self._arrays[name][self._number]


def _sliceable(array, name):
    if issparse(array):
        return array.tocsr()
    if kind_of(array) is not None or not (hasattr(array, "shape") and hasattr(array, "dtype")):
        array = array.to_numpy() if kind_of(array) is not None else np.asarray(array)
        array = array.astype(object) if array.dtype.kind == "U" else array
    if not array.shape:
        raise ValueError(
            f"Got arrays[{name!r}]={reprlib.repr(array)}, a single value; expected an array with "
            "the samples along its first axis."
        )
    return array


class ColumnsToInputs(TransformerMixin, BaseEstimator):
    """Turn the columns of a table into named inputs, for nets with several.

    Parameters
    ----------
    inputs : dict
        Which columns go to which input of the net, by the input's name: a column's name or number
        for an input of shape (n_samples,), such as text; a list of them for one of shape
        (n_samples, n_columns); or a callable such as `sklearn.compose.make_column_selector`, which
        gets X and returns the list. Other columns are left out; one may go to several inputs.
        Columns that have names are found by them: `transform` needs no others, in any order.

    Attributes
    ----------
    inputs_ : dict
        The numbers of the columns.
    n_features_in_ : int
        Number of columns.
    feature_names_in_ : ndarray of shape (n_features_in_,)
        Column names, if X had them.

    See Also
    --------
    NamedArrays : The result of `transform`.
    sklearn.compose.ColumnTransformer : Goes before it to scale or encode columns; with
        ``set_output(transform="pandas")`` its columns keep names.

    Examples
    --------
    >>> import pandas as pd
    >>> from skkeras.data import ColumnsToInputs
    >>> X = pd.DataFrame({"age": [30, 40], "fare": [7.5, 9.0], "title": ["Ms", "Dr"]})
    >>> ColumnsToInputs({"numbers": ["age", "fare"], "title": "title"}).fit_transform(X)
    NamedArrays(2 samples: numbers (2,) float64, title () object)
    """

    __module__ = "skkeras.data"  # the path in pickles, and where users import it from

    def __init__(self, inputs):
        self.inputs = inputs

    def fit(self, X, y=None):
        """Find the columns.

        Parameters
        ----------
        X : DataFrame or array-like of shape (n_samples, n_columns)
            A table.
        y : None
            Ignored.

        Returns
        -------
        self : object
            The fitted transformer.

        Raises
        ------
        ValueError
            If X has no such column.
        """
        if not isinstance(self.inputs, dict) or not self.inputs:
            raise TypeError(
                f"inputs={reprlib.repr(self.inputs)}; expected a dict such as "
                "{'numbers': ['age', 'fare'], 'text': 'title'}."
            )
        _check_table(self, X, reset=True)
        names = getattr(self, "feature_names_in_", None)
        self.inputs_ = {
            name: _numbers(f"inputs[{name!r}]", columns, X, self.n_features_in_, names)
            for name, columns in self.inputs.items()
        }
        return self

    def transform(self, X):
        """Return the inputs.

        Parameters
        ----------
        X : DataFrame or array-like of shape (n_samples, n_columns)
            A table like that of `fit`; of a DataFrame only the columns that are used.

        Returns
        -------
        inputs : NamedArrays
            Copies of the columns.

        Raises
        ------
        ValueError
            If columns that are used are missing, or an array has another number of them.
        """
        check_is_fitted(self)
        names, found, inputs = getattr(self, "feature_names_in_", None), names_of(X), self.inputs_
        if names is None or found is None or found == [*names]:
            X = _check_table(self, X, reset=False)
        else:
            inputs = _found_again(inputs, names, found)
        return NamedArrays({name: _take(X, columns) for name, columns in inputs.items()})

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.string = True
        tags.input_tags.allow_nan = True
        tags.input_tags.sparse = True
        return tags


def _check_table(estimator, X, *, reset):
    """Check names and number of columns; return X, which is an array unless it is a frame."""
    X = X if kind_of(X) is not None or hasattr(X, "shape") else np.asarray(X, dtype=object)
    if len(X.shape) != 2:
        raise ValueError(f"X has shape {X.shape}; expected a table, (n_samples, n_columns).")
    return validate_data(estimator, X, reset=reset, skip_check_array=True)


def _found_again(inputs, names, found):
    """Return the column numbers of a frame with other columns, or another order."""
    used = {names[number] for columns in inputs.values() for number in np.atleast_1d(columns)}
    if missing := sorted(used - set(found)):
        raise ValueError(
            f"X lacks the columns {missing}; expected all that inputs uses, as in fit. X has "
            f"{found}."
        )
    again = [found.index(name) if name in used else None for name in names]
    return {
        name: [again[n] for n in columns] if isinstance(columns, list) else again[columns]
        for name, columns in inputs.items()
    }


def _numbers(name, columns, X, n_columns, names):
    """Return a column's number, or a list of them."""
    columns = columns(X) if callable(columns) else columns
    numbers = column_numbers(name, columns, n_columns, names)
    if not numbers:
        raise ValueError(f"Got {name}={columns!r}, which are no columns; expected at least one.")
    return numbers[0] if np.ndim(columns) == 0 else numbers


def _take(X, columns):
    several = columns if isinstance(columns, list) else [columns]
    if issparse(X):
        taken = X.tocsc()[:, several].tocsr()
    elif kind_of(X) == "pandas":
        taken = X.iloc[:, several].to_numpy(copy=True)
    elif kind_of(X) == "polars":
        taken = X[:, several].to_numpy()
    else:
        taken = X[:, several]
    if several is columns:
        return taken
    return (taken.toarray() if issparse(taken) else taken)[:, 0]
