"""Describe public data sets: each a map, and what a map cannot say.

Column names and units are from each publisher's pages. docs/import.md says which were tried on real
files.
"""
