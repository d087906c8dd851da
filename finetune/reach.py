"""Checks once whether the Hub answers. Without network, its client retries for half a minute."""

from functools import cache


@cache
def hub_answers() -> bool:
    """Whether the Hub answers within five seconds. False if HF_HUB_OFFLINE is set."""
    from huggingface_hub import constants, get_session

    if constants.HF_HUB_OFFLINE:
        return False
    try:
        get_session().head(constants.ENDPOINT, timeout=5)
    except Exception:  # versions use different HTTP libraries, with different errors
        return False
    return True
