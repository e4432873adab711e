"""Programs as parents start them that ignore or block the signals which end a process."""

INHERITED = {
    "default": (),
    "ignored": ("env", "--ignore-signal=INT,TERM,CHLD"),
    "blocked": ("env", "--block-signal=INT,TERM,CHLD"),
}
"""What to put before a command, so that the program starts like that: `env` passes both on through exec."""
