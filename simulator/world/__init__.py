"""The built-in world: people, videos, comments and how they meet."""

from simulator.world.world import World

__all__ = ["World"]
