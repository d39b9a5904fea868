"""HTTP in: the webhook, the API, the pages, the probes, and who may use which.

It knows alerts, a callable that takes them in, the store and a `System` protocol. It does not know the engine.
"""
