"""The differentiable stand-in of a die, and what it is held to."""
