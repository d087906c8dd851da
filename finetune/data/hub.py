"""Reads the rows of a data set on the Hub, or of its copy in the local cache."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from finetune.data.rows import Rows, one_line, places
from finetune.reach import hub_answers


def from_hub(
    name: str,
    config: str | None,
    revision: str | None,
    sources: Mapping[str, str],
    notes: list[str],
) -> dict[str, Rows]:
    """Loads splits of a data set on the Hub.

    Args:
        name: the id of the data set.
        config: a subset of the data set. None: its only or default one.
        revision: a branch, tag or commit. None: the main branch.
        sources: for each split of the run (train, validation, test), a split of the data set.
        notes: receives a line if the copy in the local cache was used.

    Returns:
        The rows of each split of the run.

    Raises:
        ValueError: the data set cannot be loaded, or a split has no rows.
    """
    import datasets

    offline = datasets.config.HF_HUB_OFFLINE
    reachable = Path(name).exists() or hub_answers()
    datasets.config.HF_HUB_OFFLINE = not reachable
    try:
        loaded = datasets.load_dataset(
            name, config, split=list(sources.values()), revision=revision
        )
    except ConnectionError as error:
        raise ValueError(
            f"data set {name!r} is not in the local cache and the Hub cannot be reached; "
            "load it once with a network connection, or give files: --data.train FILE"
        ) from error
    except (OSError, ValueError, RuntimeError, datasets.exceptions.DatasetsError) as error:
        raise ValueError(f"data set {name!r} cannot be loaded: {one_line(error)}") from error
    finally:
        datasets.config.HF_HUB_OFFLINE = offline
    if not reachable:
        # The library takes the newest copy in its cache and does not look at the revision.
        unsure = f"; it may not be revision {revision}" if revision else ""
        notes.append(
            f"{name}: the copy in the local cache is used, because the Hub cannot be reached"
            f"{unsure}"
        )
    splits = {}
    for (split, source), dataset in zip(sources.items(), loaded, strict=True):
        if not len(dataset):
            raise ValueError(f"data set {name!r} has no rows in its split {source}")
        numbers = range(1, len(dataset) + 1)
        splits[split] = Rows(dataset, places(f"{name}, {source}, row", numbers))
    return splits
