"""Completions of shells and manual pages, made from the tables of commands and settings."""
