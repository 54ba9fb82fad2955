Agents enroll at any node: ``twistd wazuh-cluster --enrollment tcp:1515`` speaks what wazuh-authd speaks. A worker passes the request to the master, and what an agent was never told of is undone.
