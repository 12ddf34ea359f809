"""How the outside is reached: one file for each port and technology; they do not know each other."""
