"""Read, write, check and describe logs."""
