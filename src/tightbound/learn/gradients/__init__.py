"""How the gradient of a bound is estimated."""
