"""Commands that look at a model: compile it, or say how it would lie on the chip."""
