``wazuh-clusterd`` starts a node with the flags that Wazuh's scripts use (``-f``, ``-d``, ``-dd``, ``-r``, ``-t``,
``-c FILE``, ``-V``), with its process id where ``wazuh-control`` looks for it.
