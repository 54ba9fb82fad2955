"""
Applications for C{twistd --python}: processes that the jobs measure besides
plain nodes.
"""
