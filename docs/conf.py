"""Configuration of Sphinx; ``python3 bootstrap.py docs`` builds the site."""

import shutil
import zlib
from pathlib import Path

import skkeras

HERE = Path(__file__).parent


def write_inventories(sources, folder):
    """Compress the inventories that the repository keeps as text, for intersphinx.

    Parameters
    ----------
    sources : iterable of pathlib.Path
        Text files; inventories/README.md describes them.
    folder : pathlib.Path
        Where to write.

    Returns
    -------
    mapping : dict
        For `intersphinx_mapping`.
    """
    folder.mkdir(parents=True, exist_ok=True)
    mapping = {}
    for source in sources:
        address, *entries = source.read_text(encoding="utf-8").splitlines()
        header = f"# Sphinx inventory version 2\n# Project: {source.stem}\n# Version: \n"
        header += "# The remainder of this file is compressed using zlib.\n"
        inventory = folder / f"{source.stem}.inv"
        inventory.write_bytes(header.encode() + zlib.compress("\n".join([*entries, ""]).encode()))
        mapping[source.stem] = (address, str(inventory))
    return mapping


# Pages of names that are no longer public would be left over.
shutil.rmtree(HERE / "api" / "generated", ignore_errors=True)

project = "skkeras"
author = copyright = "the skkeras developers"  # noqa: A001 (a name that Sphinx reads)
release = skkeras.__version__
extensions = [
    "myst_parser",
    "numpydoc",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.intersphinx",
    "sphinx_copybutton",
]
exclude_patterns = ["_build", "inventories"]
templates_path = ["_templates"]
nitpicky = True
# Single backticks in docstrings are names; nitpicky finds those that lead nowhere.
default_role = "py:obj"
# Backticks around other things, in docstrings that scikit-learn's classes hand down.
nitpick_ignore_regex = [("py:obj", 'X|y|fit_params|n_splits|".*"')]

myst_heading_anchors = 3

add_function_parentheses = False
smartquotes = False  # quotes in types and code are Python's
toc_object_entries_show_parents = "hide"
autodoc_typehints = "none"  # types stand in the docstrings
numpydoc_class_members_toctree = False
# Layers inherit some hundred members from Keras, whose docstrings aren't written for Sphinx.
numpydoc_show_inherited_class_members = {
    f"skkeras.models.{name}": False
    for name in ("LearntScaling", "NTKDense", "OutputScaling", "RobustScaling")
}
numpydoc_xref_param_type = True
numpydoc_xref_ignore = "all"  # but the names below
numpydoc_xref_aliases = {
    "DataFrame": "pandas.DataFrame",
    "LazyArray": "skkeras.data.LazyArray",
    "NamedArrays": "skkeras.data.NamedArrays",
    "RandomState": "numpy.random.RandomState",
    "Series": "pandas.Series",
    "keras.Layer": "keras.layers.Layer",
    "ndarray": "numpy.ndarray",
    # Not references, as docutils takes the underscores for.
    **{
        name: f"``{name}``"
        for name in ("n_features_in_,", "shape_in_", "shape_out_", "*shape_in_", "*shape_out_")
    },
    **{
        name: f":obj:`{name}`"
        for name in (
            "keras.Model",
            "keras.callbacks.Callback",
            "keras.callbacks.EarlyStopping",
            "keras.losses.Loss",
            "keras.optimizers.Optimizer",
            "numpy.dtype",
        )
    },
}

intersphinx_mapping = write_inventories(
    sorted((HERE / "inventories").glob("*.txt")), HERE / "_build" / "inventories"
)

copybutton_prompt_text = ">>> |\\.\\.\\. "
copybutton_prompt_is_regexp = True

html_theme = "pydata_sphinx_theme"
html_title = "skkeras"
html_static_path = ["_static"]
html_css_files = ["skkeras.css"]
html_copy_source = False
html_context = {"default_mode": "auto"}  # light or dark as the reader's system
html_theme_options = {
    "footer_start": ["copyright"],
    "footer_end": ["theme-version"],
    "navbar_align": "left",
    "show_toc_level": 2,
}
