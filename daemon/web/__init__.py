"""What is served over HTTP on TCP: metrics, health, the front page."""
