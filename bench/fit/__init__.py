"""What makes a network fit: pruning, tiles and half precision, by memory, time and quality."""
