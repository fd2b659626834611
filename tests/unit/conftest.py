"""Property tests give the same verdict each time, however busy the machine: fixed examples, no deadlines."""

from hypothesis import settings

settings.register_profile("steady", derandomize=True, deadline=None)
settings.load_profile("steady")
