"""How the columns of a mixed table are modelled: family, scale and spikes of each; and the map to what a model sees."""

from .encoding import ColumnsEncoding, make_columns_encoding
from .plan import ColumnPlan, plan_column

__all__ = ["ColumnPlan", "ColumnsEncoding", "make_columns_encoding", "plan_column"]
