"""What several tests use: servers, clients and machines that do as a test says."""
