"""
C{wazuh-cluster demo}: a master and its workers at work on this machine.
"""
