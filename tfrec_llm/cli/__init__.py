"""The command line: one thin verb a file, one handler of errors."""
