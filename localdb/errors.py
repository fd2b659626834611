"""The one error of this package."""


class LocalDatabaseError(Exception):
    """The embedded database can't be used; the message says why and names a remedy, in words for people."""
