"""The two errors that reach a person, each one or two lines that say what, where and what to do."""


class TamisError(Exception):
    """Something failed that the user did not cause, such as a full disk; the command exits with 1."""


class UserError(TamisError):
    """The user can mend it, such as a missing file or an unknown method; the command exits with 2."""
