"""Teachers: asking a model for answers to records, once each, whatever happens meanwhile."""
