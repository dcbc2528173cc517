"""Register the commands: one module per family, each with ``register(app)``."""
