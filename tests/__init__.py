"""
The tests.
"""

from hypothesis import HealthCheck, settings

# How fast examples are made, and tried, says only how busy the machine is.
settings.register_profile("patient", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("patient")
