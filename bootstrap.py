"""Make an environment in .venv, install skkeras there, and run the demo, the tests or Sphinx.

Needs Python and pip, nothing else:

    python3 bootstrap.py demo [regression | images | ...]
    python3 bootstrap.py test [options of pytest]
    python3 bootstrap.py docs [options of sphinx-build]
"""

import argparse
import os
import subprocess
import sys
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parent
ENVIRONMENT = ROOT / ".venv"
PYTHON = ENVIRONMENT.joinpath(
    *(["Scripts", "python.exe"] if os.name == "nt" else ["bin", "python"])
)

# What each task installs, what it runs, and what it adds to the environment.
TASKS = {
    "demo": (".", ["skkeras"], {}),
    "test": (
        ".[tests,plots]",
        [
            *("pytest", "-m", "not slow", "--cov"),
            *("-n=auto", "--dist=loadfile", "--max-worker-restart=1"),
        ],
        # With a process for each core, a thread for each process is a tenth faster.
        {"TF_NUM_INTRAOP_THREADS": "1"},
    ),
    "docs": (
        ".[docs]",
        ["sphinx", "-W", "--keep-going", "docs", "docs/_build/html"],
        {},
    ),
}


def main():
    """Install and run what the command line asks for; return the exit code."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("task", choices=TASKS)
    parser.add_argument("options", nargs=argparse.REMAINDER, help="passed on to what is run")
    arguments = parser.parse_args()
    if sys.version_info < (3, 11):  # noqa: UP036 (this file runs before pip can refuse)
        parser.error(f"Python {sys.version.split()[0]} is too old; 3.11 or newer is needed.")

    requirement, command, added = TASKS[arguments.task]
    if not PYTHON.exists():
        print(f"Making an environment in {ENVIRONMENT}", flush=True)
        # The pip that is there installs into it, since some systems leave ensurepip out.
        venv.create(ENVIRONMENT, symlinks=os.name != "nt")
    print(f"Installing {requirement} (TensorFlow is large, so the first time takes minutes)")
    sys.stdout.flush()
    pip = [sys.executable, "-m", "pip", "--python", str(PYTHON), "install", "--quiet"]
    if not sys.dont_write_bytecode:
        pip.append("--no-compile")  # Python compiles what is imported, a fraction of TensorFlow
    run = [str(PYTHON), "-m", *command, *arguments.options]
    environment = {**added, **os.environ}
    for step in ([*pip, "--editable", requirement], run):
        if code := subprocess.run(step, cwd=ROOT, env=environment).returncode:
            return code
    return 0


if __name__ == "__main__":
    sys.exit(main())
