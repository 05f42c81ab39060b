"""For freezing the package into a MicroPython build: include("<here>/manifest.py")."""

# The build gives both names. The version stands in onebuf/__init__.py alone.
metadata(description="Telemetry over HTTPS, out of one fixed buffer", license="Apache-2.0")  # noqa: F821
package("onebuf", opt=3)  # noqa: F821
