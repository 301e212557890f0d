"""Invertible maps, and distributions made of them."""
