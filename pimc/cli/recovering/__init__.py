"""Commands that find out what a die computes, and make it accurate again."""
