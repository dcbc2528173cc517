"""Let people change the platform that others meet: displayed likes, and what creators publish."""
