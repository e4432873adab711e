"""The loop: from an event of a watch to a key that is worked off, in one replica that leads."""
