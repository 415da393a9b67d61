"""Stands in for a provider's SDK that blocks: one HTTP request per call, on the standard library's client."""

import http.client
import json
import urllib.parse


class Timeout(Exception):
    """Nothing came in time."""


class Unreachable(Exception):
    """No connection could be made."""


class Refused(Exception):
    """The server answered with an error."""

    def __init__(self, status):
        super().__init__(status)
        self.status = status


class Client:
    """A client as many SDKs have it, with a timeout and retries of its own."""

    def __init__(self, base_url, api_key, *, timeout=600.0, retries=2):
        assert retries == 0, "the router is the one who tries again"
        self._host = urllib.parse.urlsplit(base_url).netloc
        self._api_key = api_key
        self._timeout = timeout

    def chat(self, model, messages, **parameters):
        connection = http.client.HTTPConnection(self._host, timeout=self._timeout)
        body = json.dumps({"model": model, "messages": [dict(message) for message in messages]} | parameters)
        try:
            connection.request("POST", "/chat", body, {"X-Key": self._api_key})
            response = connection.getresponse()
            if response.status != 200:
                raise Refused(response.status)
            return json.load(response)
        except TimeoutError:
            raise Timeout from None
        except ConnectionRefusedError:
            raise Unreachable from None
        finally:
            connection.close()
