"""
How Sphinx builds the manual.
"""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from wazuh_cluster import __version__

project = "wazuh_cluster"
author = "the wazuh_cluster contributors"
copyright = "2026, the wazuh_cluster contributors"
version = release = __version__

exclude_patterns = ["_build"]
nitpicky = True
html_theme = "alabaster"
