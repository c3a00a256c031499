"""What is wrong with this Docker host: looks, judges and says so, without the daemon."""
