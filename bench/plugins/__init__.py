"""Methods, tasks and backbones by name, and the files and packages that bring them."""
