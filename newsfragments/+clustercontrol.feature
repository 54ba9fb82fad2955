``cluster_control`` takes the options of Wazuh's program and prints what that prints, for scripts and playbooks; it ends with 1 where the answer is an error.
