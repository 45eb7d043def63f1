"""One suite per port: subclass it, override its fixtures, and pytest runs every promise of the port."""
