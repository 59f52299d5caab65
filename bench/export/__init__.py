"""Export of networks: as JSON from which they are rebuilt, or as ONNX files that are checked."""
