"""Files, arrays, frames, sparse matrices and images as tables."""
