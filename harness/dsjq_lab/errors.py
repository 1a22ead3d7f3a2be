"""What is wrong with the lab or with a request says nothing about the system under study: no verdict."""


class LabError(Exception):
    """The lab or its environment failed: exit code 3, never a verdict."""


class UsageError(Exception):
    """What was asked for does not exist, or makes no sense: exit code 2."""
