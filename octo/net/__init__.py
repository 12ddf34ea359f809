"""The network of the builds: one bridge, its filter, and the seats at it."""
