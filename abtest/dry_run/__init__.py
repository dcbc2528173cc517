"""Say what a run would do, detect and cost, without writing anything."""
