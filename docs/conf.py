"""How the documentation is built: ``python -m sphinx -W -n -b html docs docs/_build/html``."""

import os
from pathlib import Path

# Importing Airflow writes its configuration into its home: let that be here, not in the developer's.
os.environ.setdefault("AIRFLOW_HOME", str(Path(__file__).parent / "_build" / "airflow"))

from airflow_mrs import __version__

project = "airflow-provider-mrs"
version = release = __version__
extensions = ["myst_parser", "sphinx.ext.autodoc"]
exclude_patterns = ["_build"]
html_theme = "furo"
html_title = f"{project} {version}"

myst_enable_extensions = ["colon_fence", "deflist"]
myst_heading_anchors = 3

autodoc_member_order = "bysource"
autodoc_typehints = "description"
autodoc_typehints_description_target = "documented"
autodoc_default_options = {"members": True, "undoc-members": False}
# Names that signatures mention and that have no page here.
nitpick_ignore_regex = [
    ("py:class", r"Client|Context|DAGNode|Durations|IfBusy|Refusal|Settings|XComArg|collections\.Counter"),
    ("py:class", r"(datetime\.)?timedelta|airflow\.sdk\..*"),
    ("py:class", r"airflow_mrs\.simulator\..*"),
]
