The daemon tells systemd when it is up, how it is, and that its reactor turns (``Type=notify``,
``WatchdogSec=``), and takes its ports from systemd (``--listen``, ``--enrollment`` with ``systemd:`` endpoints).
