"""Define the built-in world: people, videos and comments."""

from simulator.world.world import World

__all__ = ["World"]
