"""What Pulse does, one verb per file: each takes ports, holds no state of its own beyond settings, and
is called alike by HTTP routes, actors, loops, strategies and simulations."""
