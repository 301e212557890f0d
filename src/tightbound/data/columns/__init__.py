"""How columns are modelled one by one: family, scale and point masses of each; and the map to what a model sees."""

from tightbound.data.columns.encoding import ColumnwiseEncoding, make_columns_encoding
from tightbound.data.columns.plan import ColumnPlan, plan_column, plan_exposure

__all__ = ["ColumnPlan", "ColumnwiseEncoding", "make_columns_encoding", "plan_column", "plan_exposure"]
