"""A failure of the laboratory says nothing about the system that it studies, so it has a type of its own."""


class LabError(Exception):
    """The lab or its environment failed: exit code 3, never a verdict."""
