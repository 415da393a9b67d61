"""What stands before the proxy in many a company."""

import http.client

from pointsman.testing import Answer, ReceivedRequest, Reply

BETWEEN_NEIGHBOURS = {"connection", "content-length", "date", "server", "transfer-encoding"}
"""Headers that a load balancer writes itself."""


class LoadBalancer:
    """Hands every request on to the proxy, until it is told that there is none any more."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._gone = False
        self.call_ids: list[str | None] = []
        """The proxy's id of every call that went through."""

    def lose_the_proxy(self) -> None:
        self._gone = True

    def answer(self, request: ReceivedRequest) -> Answer:
        if self._gone:
            page = "<html><body><h1>502 Bad Gateway</h1></body></html>"
            return Reply(502, body=page.encode(), headers={"content-type": "text/html"})
        proxy = http.client.HTTPConnection("127.0.0.1", self._port, timeout=30)
        try:
            proxy.request(request.method, request.path, request.body, dict(request.headers))
            response = proxy.getresponse()
            self.call_ids.append(response.getheader("x-litellm-call-id"))
            headers = {name: text for name, text in response.getheaders() if name.lower() not in BETWEEN_NEIGHBOURS}
            return Reply(response.status, body=response.read(), headers=headers)
        finally:
            proxy.close()
