"""What kind of thing each column of a mixed table holds: inferred by stated rules, shown, editable, and as numbers.

`rules` states the thresholds, `decide` the rules in the order in which they are asked, `TableSchema` is the result.
"""

from tightbound.data.types.column import Kind, TableColumn
from tightbound.data.types.infer import infer_table_schema
from tightbound.data.types.table_schema import TableSchema

__all__ = ["Kind", "TableColumn", "TableSchema", "infer_table_schema"]
