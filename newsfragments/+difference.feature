A worker that has the manifest of an earlier generation is sent what changed since, not all of it; what is sent is
worked out once for all workers.
