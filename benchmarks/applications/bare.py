"""
A twistd that has imported what a node of a role imports, and runs nothing.
"""

from __future__ import annotations

import os
from importlib import import_module

from twisted.application.service import Application, IServiceMaker
from twisted.plugin import getPlugins

from benchmarks.probe import ROLE

# twistd itself does this when it looks for the name of what it is to run.
list(getPlugins(IServiceMaker))
for _module in ("tap", "home", os.environ[ROLE]):
    import_module(f"wazuh_cluster.{_module}")
# What is imported when a node listens or connects.
import_module("twisted.internet.tcp")
if os.environ[ROLE] == "worker":
    import_module("wazuh_cluster.resolver")
    import_module("encodings.idna")

application = Application("bare")
