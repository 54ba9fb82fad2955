Where ``ossec.conf`` asks for JSON in ``<logging><log_format>``, a node writes its log to
``logs/cluster.json`` too. On a master, the totals of a worker's sync are ``Files to create in worker: N``.
