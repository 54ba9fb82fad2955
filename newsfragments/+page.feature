``--http ENDPOINT``: a live page of the cluster for browsers, ``/metrics`` for Prometheus, ``/health`` for load balancers, and the cluster JSON of Wazuh's API.
