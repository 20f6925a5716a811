"""Build the wheel, install it into an empty environment, and have Airflow name what it finds there."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import venv
from pathlib import Path

from dev.database import ROOT

NAMES = {
    ("providers", "list"): ["airflow-provider-mrs"],
    ("providers", "hooks"): ["airflow_mrs.hooks.mrs_manager.MRSManagerHook"],
}
MODULES = ["hooks.mrs_manager", "operators.service", "sensors.command", "triggers.command"]


def main() -> None:
    """Fail unless the wheel alone is enough to use the provider."""
    shutil.rmtree(ROOT / "dist", ignore_errors=True)
    _run([sys.executable, "-m", "build", "--wheel", "--outdir", str(ROOT / "dist"), str(ROOT)])
    [wheel] = (ROOT / "dist").glob("*.whl")
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        venv.create(home / "venv", with_pip=True)
        python = str(home / "venv" / "bin" / "python")
        constraints = str(ROOT / "constraints.txt")
        _run([python, "-m", "pip", "install", "--quiet", "--constraint", constraints, str(wheel)])
        imports = "; ".join(f"import airflow_mrs.{module}" for module in MODULES)
        _run([python, "-c", imports], home=home)
        for command, names in NAMES.items():
            said = _run([python, "-m", "airflow", *command, "--output", "plain"], home=home)
            for name in names:
                if name not in said:
                    sys.exit(f"airflow {' '.join(command)} does not name {name}:\n{said}")
    print(f"{wheel.name} is all it takes")


def _run(command: list[str], home: Path | None = None) -> str:
    environment = os.environ if home is None else {**os.environ, "AIRFLOW_HOME": str(home / "airflow")}
    # Not from the checkout, whose folder would stand in for the wheel.
    done = subprocess.run(
        command, cwd=home or ROOT, env=environment, capture_output=True, text=True, check=False
    )
    if done.returncode:
        sys.exit(f"{' '.join(command)}:\n{done.stdout}{done.stderr}")
    return done.stdout


if __name__ == "__main__":
    main()
