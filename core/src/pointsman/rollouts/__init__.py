"""Rollouts that run: changed from code, compared by what was recorded."""
