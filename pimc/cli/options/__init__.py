"""How a command's options are declared, and the options that several commands take."""
