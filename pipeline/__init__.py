"""The engine and the face: manifest, plan, executors, command line."""
