"""A laboratory's own physics: classes found by their entry points in the group ``pimc.physics``."""
