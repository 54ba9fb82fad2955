``wazuh_cluster.testing.simulation``: a whole cluster in one process, on virtual time, with faults
of machines, disks, clocks and networks by seed, for applications that embed a node.
