"""The lean executor: networks rewritten so that a real run on the CPU needs the planned memory."""
