Groups of agents: ``wazuh-cluster groups`` shows and changes them, and an assignment of an agent that first showed up on a worker goes up to the master and from there to all nodes.
