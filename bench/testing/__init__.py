"""The contract suite: named checks of methods and tasks, and the template of a new method."""
