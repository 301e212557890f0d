"""How the columns of a mixed table are modelled: family, scale and spikes of each; and the map to what a model sees."""

from tightbound.data.columns.encoding import ColumnwiseEncoding, make_columns_encoding
from tightbound.data.columns.plan import ColumnPlan, plan_column, plan_exposure

__all__ = ["ColumnPlan", "ColumnwiseEncoding", "make_columns_encoding", "plan_column", "plan_exposure"]
