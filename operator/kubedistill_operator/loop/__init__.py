"""The loop: from an event of a watch to a reconciled job, in the replica that leads."""
