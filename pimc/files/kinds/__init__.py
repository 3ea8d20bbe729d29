"""What a file is, whatever it is called: kinds by their bytes, and who takes them."""
