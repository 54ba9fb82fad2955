"""
The programs that people call.
"""
