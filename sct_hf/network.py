"""Reasons why something could not be fetched or read."""


def failure_reason(error: BaseException) -> str:
    """First line of an error's message, then that of its root cause, such as the network's."""
    root = error
    while (deeper := root.__cause__ or (None if root.__suppress_context__ else root.__context__)) is not None:
        root = deeper
    messages = [str(item).strip().split("\n")[0] or type(item).__name__ for item in (error, root)]
    return ": ".join(dict.fromkeys(messages))
