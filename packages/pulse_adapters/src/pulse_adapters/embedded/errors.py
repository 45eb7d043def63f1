"""The one error of embedded servers."""


class EmbeddedServerError(Exception):
    """A server could not be found, started or kept; the message is one line and carries no password."""

    code = "embedded_server"
