"""The command line: option parsing, run directories, bundled configurations.

Knows every other folder; nothing imports it.
"""
