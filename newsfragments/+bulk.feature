A first synchronisation takes less processor time: packs are staged side by side, and links that move much read and write many TLS records at once (``linkBuffer`` and ``window`` in ``[limits]``).
