Links that move much read and write many TLS records at once, which takes less processor time (``linkBuffer`` and ``window`` in ``[limits]``).
