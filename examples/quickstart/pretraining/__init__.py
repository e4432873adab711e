"""How the quickstart's teacher and untrained student were made."""
