"""Reads rows from an object of a program: a DataFrame, a `datasets.Dataset` or a list of dicts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

from finetune.data.formats import arrow_table
from finetune.data.rows import Rows, kind_of, one_line, placed, places, short

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa
    from datasets import Dataset

    Table: TypeAlias = pd.DataFrame | Dataset | Sequence[Mapping[str, Any]]
    """An object with rows."""


def from_object(split: str, table: Table) -> Rows:
    """Reads the rows of a pandas DataFrame, a `datasets.Dataset` or a list of dicts.

    Args:
        split: the name of the split. Messages name a row as `train, row 3`, counted from 1.
        table: the object. A missing value of pandas is read as None.

    Returns:
        The rows, with their places for messages.

    Raises:
        ValueError: the object is none of these or holds no rows, or the values of a column have
            different types.
    """
    import pandas as pd
    from datasets import Dataset

    label = f"{split}, row"
    if isinstance(table, Dataset):
        dataset = table.with_format(None)
    elif isinstance(table, pd.DataFrame):
        dataset = Dataset(_from_frame(table, label))
    elif isinstance(table, list | tuple):
        dataset = Dataset(_from_dicts(table, label))
    else:
        raise ValueError(
            f"{split} is a {type(table).__name__}; Splits.of takes a pandas DataFrame, a "
            "datasets.Dataset or a list of dicts for each split; for a file, write Data(train=FILE)"
        )
    if not len(dataset):
        raise ValueError(f"{split} holds no rows")
    return Rows(dataset, places(label, range(1, len(dataset) + 1)))


def _from_dicts(rows: Sequence[Mapping[str, Any]], label: str) -> pa.Table:
    """The rows as an Arrow table. `label` begins the place of a row, such as "train, row"."""
    for number, row in enumerate(rows, 1):
        if not isinstance(row, Mapping) or not all(isinstance(name, str) for name in row):
            raise ValueError(
                f"{placed(label, number)}: {short(row)} is {kind_of(row)}, not a dict with "
                "column names as keys"
            )
    return arrow_table(
        [dict(row) for row in rows], [placed(label, number) for number in range(1, len(rows) + 1)]
    )


def _from_frame(frame: pd.DataFrame, label: str) -> pa.Table:
    """The DataFrame as an Arrow table, without its index. `label` is as in `_from_dicts`."""
    import pyarrow as pa

    try:
        table = pa.Table.from_pandas(frame, preserve_index=False)
    except pa.ArrowException:  # it does not name the row, `arrow_table` does
        values = frame.astype(object).where(frame.notna(), None)
        return _from_dicts(values.rename(columns=str).to_dict("records"), label)
    except (ValueError, TypeError, NotImplementedError) as error:
        raise ValueError(f"{label.partition(',')[0]}: {one_line(error)}") from None
    for index, field in enumerate(table.schema):
        if pa.types.is_dictionary(field.type):  # a pandas Categorical
            values = table.column(index).cast(field.type.value_type)
            table = table.set_column(index, field.name, values)
    return table.replace_schema_metadata(None)
