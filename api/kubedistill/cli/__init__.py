"""The command line: `kubedistill`. One file per command."""
