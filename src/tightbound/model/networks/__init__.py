"""How numbers flow between x, z and the parameters of distributions."""
