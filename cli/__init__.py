"""The command line: parse, call core, show. One module a noun; no logic."""
