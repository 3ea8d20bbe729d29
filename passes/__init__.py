"""Passes of the compiler, plan to plan, and of recovery."""
