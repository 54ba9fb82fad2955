``contrib/`` has a hardened systemd unit with sockets, a container file, and an HAProxy configuration for
agents.
