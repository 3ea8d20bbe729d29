"""Networks that anyone can obtain, what they are judged on, and what was measured of them."""
