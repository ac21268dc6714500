"""Rows of instruction data: formats read, checks, duplicates, shards."""
