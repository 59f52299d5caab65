"""The backbones of the restoration tasks as plain nn.Modules."""
