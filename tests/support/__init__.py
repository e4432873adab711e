"""What several folders of tests use: fakes, fixtures, programs of a cluster, and tables that tests check."""
