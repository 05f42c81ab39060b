"""For freezing the package into a MicroPython build: include("<here>/manifest.py")."""

package("onebuf", opt=3)  # noqa: F821 - a name that the build gives
