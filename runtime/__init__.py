"""Running an image: on a simulated die, on a recording, or on a chip through its driver."""
