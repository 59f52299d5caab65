"""Networks that leave prunebench: described as JSON and rebuilt from it, or written as ONNX files that are checked by running them."""
