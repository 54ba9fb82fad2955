"""
A Wazuh cluster as a Twisted library, with a thin daemon.
"""
