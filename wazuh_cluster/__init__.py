"""
A Wazuh cluster as a Twisted library, with a thin daemon.
"""

#: The release, also read (without importing) when the package is built.
__version__ = "26.11.0"
