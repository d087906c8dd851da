"""Whether the Hub answers, asked once: without network its client tries again for half a minute."""

from functools import cache


@cache
def hub_answers() -> bool:
    """False where HF_HUB_OFFLINE is set, or nothing comes back within five seconds."""
    from huggingface_hub import constants, get_session

    if constants.HF_HUB_OFFLINE:
        return False
    try:
        get_session().head(constants.ENDPOINT, timeout=5)
    except Exception:  # the HTTP library below, hence its errors, differs between versions
        return False
    return True
