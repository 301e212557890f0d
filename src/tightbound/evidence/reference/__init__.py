"""Simple models with exact likelihoods, to set beside a fitted one."""
