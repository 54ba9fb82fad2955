A worker whose link the master ends because it breaks the protocol is a warning in the master's log.
