``wazuh-cluster demo`` also shows agents that enroll at a worker, are active on the master, move to another worker, get a group and are deleted, and checks each step on every node.
