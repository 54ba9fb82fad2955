Files travel compressed between nodes that have zstd (``pip install '.[zstd]'``, or Python 3.14); ``compression = no`` in ``[integrity]`` switches it off.
