"""How the numbers of q(z given x) are found."""
