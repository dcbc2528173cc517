"""Run groups of people on the machines of a Ray cluster; imports ray only when it is asked for."""
