"""What the commands do, as functions: ``pimc.program``, ``pimc.evaluate`` and their like."""
