"""The log format, datasets on disk, importers, validation and description."""
