"""The only modules that know a runtime: transports, TLS, time and chance."""
