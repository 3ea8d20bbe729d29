"""Networks run on calibration data with NumPy, so that compiling needs no other library."""
