"""The scikit-learn faces, the fitted model and its folder, and how one comes about."""
