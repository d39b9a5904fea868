"""From a step to a process or a request, and its result. The only package that runs anything."""
